package api

import (
	"context"
	"fmt"
	"regexp"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

var setName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// checkSet checks what a change says of its set.
func checkSet(r *adminv1.CreateChangeRequest) (bad admit.Violations) {
	switch {
	case r.GetSet() != "" && !setName.MatchString(r.GetSet()):
		bad = append(bad, admit.Violation{Field: "set", Problem: "is not a set name", Fix: "write 1 to 63 lower-case letters, digits, hyphens or underscores, a letter first"})
	case r.GetSet() != "" && r.GetOwner() != "":
		bad = append(bad, admit.Violation{Field: "set", Problem: "is given with an owner", Fix: "give one of them: a file is a set of its own"})
	case r.GetSet() == "" && r.GetPrune():
		bad = append(bad, admit.Violation{Field: "prune", Problem: "is given without a set", Fix: "name the set"})
	}
	if r.GetPruneMany() && !r.GetPrune() {
		bad = append(bad, admit.Violation{Field: "prune_many", Problem: "is given without prune", Fix: "leave it out, or prune"})
	}
	return bad
}

// rest are the deletions of what belongs to the set of an intent without being in it. The index says what belongs to a set, once it has the
// newest change; what it says is looked at again in the store. Of two applies of one set at the same moment each may miss what only the other
// names: the next one finds it.
func (s *service) rest(ctx context.Context, in intent) ([]edit, error) {
	newest, err := s.cfg.Store.Changes(ctx, "", 1)
	if err != nil {
		return nil, fmt.Errorf("read the newest change: %w", err)
	}
	if len(newest) > 0 {
		s.catchUp(ctx, newest[0].Revision)
	}
	named := make(map[confset.Key]bool, len(in.edits))
	for _, e := range in.edits {
		named[e.key] = true
	}
	var out []edit
	members := 0
	for h := range s.every {
		if h.Set != in.set {
			continue
		}
		members++
		if key := h.Object.Key; !named[key] {
			out = append(out, edit{key: key, path: "set", lenient: true, pruned: true})
		}
	}
	if !in.pruneMany && confset.Much(len(out), members) {
		return nil, tooMany(in.set, out, members)
	}
	return out, nil
}

// every yields the indexed heads of all kinds that operators write.
func (s *service) every(yield func(store.Head) bool) {
	for _, kind := range rules.Kinds() {
		for after := ""; ; {
			heads := s.cfg.Index.List(kind, after, pageMost)
			for _, h := range heads {
				if !yield(h) {
					return
				}
				after = h.Object.Key.Name
			}
			if len(heads) < pageMost {
				break
			}
		}
	}
}

// tooMany is the answer to a prune that looks like a mistake, such as the wrong directory or the wrong set.
func tooMany(set string, edits []edit, members int) error {
	msg := fmt.Sprintf("this would delete %d of the %d objects of the set %s, among them %s %q; if that is meant, confirm it with prune_many",
		len(edits), members, set, edits[0].key.Kind, edits[0].key.Name)
	return withDetails(codes.FailedPrecondition, msg, &errdetails.ErrorInfo{Reason: reasonPrune, Domain: domain,
		Metadata: map[string]string{"set": set, "pruned": fmt.Sprint(len(edits)), "members": fmt.Sprint(members)}})
}
