package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// former is an earlier state of an object.
type former struct {
	object confset.Object // as it was stored
	set    string
}

// RevertChange makes the change that undoes another one.
func (s *service) RevertChange(ctx context.Context, r *adminv1.RevertChangeRequest) (*adminv1.Change, error) {
	rec, err := s.stored(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	if err := s.notStaged(ctx, rec); err != nil {
		return nil, refusal(err)
	}
	edits, undone, err := s.inverse(ctx, rec)
	if err != nil {
		return nil, refusal(err)
	}
	in, err := s.intent(ctx, r, "", edits...)
	if err != nil {
		return nil, err
	}
	in.reverts = rec.ID
	if in.message == "" {
		in.message = "revert of " + rec.ID
	}
	if !r.GetForce() {
		in.guard = func(ctx context.Context, current []*store.Head) error { return s.untouched(ctx, rec, undone, current) }
	}
	return s.many(ctx, in)
}

// inverse are the edits that undo a change, and what each undoes. Internal objects stay as they are.
func (s *service) inverse(ctx context.Context, rec *store.ChangeRecord) (edits []edit, undone []store.Changed, err error) {
	for _, c := range rec.Objects {
		if !open(c.Kind) {
			continue
		}
		e := edit{key: confset.Key{Kind: c.Kind, Name: c.Name}, path: fmt.Sprintf("objects[%d]", len(edits)), lenient: true}
		if c.Before != "" {
			body, err := s.body(ctx, e.key, c.Before)
			if err != nil {
				return nil, nil, err
			}
			e.former = &former{object: confset.NewObject(e.key, c.UID, body), set: c.SetBefore}
		}
		edits, undone = append(edits, e), append(undone, c)
	}
	if len(edits) == 0 {
		return nil, nil, status.Errorf(codes.FailedPrecondition, "change %s touched nothing that can be reverted", rec.ID)
	}
	return edits, undone, nil
}

// body returns a body by the hash that a record has of it.
func (s *service) body(ctx context.Context, key confset.Key, digits string) ([]byte, error) {
	var hash confset.Hash
	if b, err := hex.DecodeString(digits); err != nil || copy(hash[:], b) != len(hash) {
		return nil, fmt.Errorf("the history names %s with a bad hash", key)
	}
	body, err := s.cfg.Store.Body(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, status.Errorf(codes.FailedPrecondition, "what %s %q was then isn't kept any more", key.Kind, key.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s as it was: %w", key, err)
	}
	return body, nil
}

// untouched returns nothing if every object is as a change left it, else the answer that names those that aren't.
func (s *service) untouched(ctx context.Context, rec *store.ChangeRecord, undone []store.Changed, current []*store.Head) error {
	var later []touched
	for i, c := range undone {
		key := confset.Key{Kind: c.Kind, Name: c.Name}
		switch h := current[i]; {
		case h != nil && (c.After == "" || h.Change != rec.ID):
			later = append(later, touched{key, "by change " + h.Change})
		case h == nil && c.After != "":
			later = append(later, touched{key, "deleted"})
		}
	}
	if len(later) > 0 {
		return since(later)
	}
	return s.stillGone(ctx, rec, undone)
}

// stillGone finds objects that a change deleted and later ones created and deleted again: no head tells of these.
func (s *service) stillGone(ctx context.Context, rec *store.ChangeRecord, undone []store.Changed) error {
	gone := map[confset.Key]bool{}
	for _, c := range undone {
		if c.After == "" {
			gone[confset.Key{Kind: c.Kind, Name: c.Name}] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var seen looked
	for next, err := range s.before(ctx, "") {
		if err != nil {
			return err
		}
		if next.ID <= rec.ID {
			return nil
		}
		if seen.enough() {
			return status.Errorf(codes.FailedPrecondition, "too many changes were made since change %s: whether they touched the same objects isn't looked up; look at its diff, then force it", rec.ID)
		}
		seen.at(next)
		for _, c := range next.Objects {
			if key := (confset.Key{Kind: c.Kind, Name: c.Name}); gone[key] {
				return since([]touched{{key, "by change " + next.ID}})
			}
		}
	}
	return nil
}

// touched is an object that isn't as a change left it.
type touched struct {
	key confset.Key
	how string
}

// touchedMost bounds the objects that an answer's sentence names; its details name all.
const touchedMost = 10

// since is the answer to a revert that would lose what later changes did.
func since(later []touched) error {
	fail := &errdetails.PreconditionFailure{}
	var words, names []string
	for i, t := range later {
		if i < touchedMost {
			words = append(words, fmt.Sprintf("%s %q (%s)", t.key.Kind, t.key.Name, t.how))
		}
		names = append(names, t.key.String())
		fail.Violations = append(fail.Violations, &errdetails.PreconditionFailure_Violation{Type: reasonSince, Subject: t.key.String(), Description: "was changed since: " + t.how})
	}
	text := strings.Join(words, ", ")
	if more := len(later) - len(words); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return withDetails(codes.Aborted, "changed again since: "+text+"; revert the later changes first, or force it and lose what they did",
		&errdetails.ErrorInfo{Reason: reasonSince, Domain: domain, Metadata: map[string]string{"objects": strings.Join(names, ",")}}, fail)
}

// formerForm works out the forms of an object that goes back to an earlier state: its body of then, byte for byte. A secret that was deleted
// has another uid now, to which its value is sealed anew; nobody outside sees it open.
func (s *service) formerForm(e edit, current *store.Head, uid string) (b bodies, err error) {
	was := e.former.object
	b.stored = was.Body
	if b.message, err = decode(was); err != nil {
		return b, err
	}
	sec, ok := b.message.(*configv1.Secret)
	if !ok {
		return b, nil
	}
	value, err := s.cfg.KEK.OpenValue(e.key, was.UID, sealedOf(was))
	if err != nil {
		b.found = rules.Violations{{Field: fieldValue, Problem: "as it was then doesn't open with the key of this control plane", Fix: "write the credential again"}}
		return b, nil //nolint:nilerr // told as a violation
	}
	sec.Spec.Value = value
	if was.UID != uid {
		if b, err = s.form(e, sec, current, uid); err != nil {
			return b, fmt.Errorf("encode %s: %w", e.key, err)
		}
		return b, nil
	}
	body, err := rules.Body(sec)
	pushed := confset.NewObject(e.key, uid, body)
	b.pushed = &pushed
	return b, err
}
