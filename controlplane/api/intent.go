package api

import (
	"context"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Limits of what a caller may put into a change record, in bytes.
const (
	messageMost = 4096
	ownerMost   = 1024
)

// intent is a write as it was asked for: every way to write ends in one.
type intent struct {
	edits        []edit
	validateOnly bool
	message      string
	owner        string
	request      requestID
	set          string // that the objects join; empty: they stay where they are
	prune        bool   // delete what else is in the set
	pruneMany    bool   // also when that is surprisingly much
	reverts      string // id of the change that it undoes
	kept         bool   // of objects that stay in the control plane
	// rollout says how it reaches the fleet; nil: everywhere at once.
	rollout *adminv1.RolloutPlan
	// guard looks at what is stored, one head per edit, before anything else does; nil: nothing is in the way.
	guard func(ctx context.Context, current []*store.Head) error
}

// edit is what is to become of one object.
type edit struct {
	key  confset.Key
	path string   // where it stands in the request; empty: it is the request
	etag *version // what it must be; nil: whatever it is
	// exists demands that there is one.
	exists bool
	// want makes the object from what is stored, nil when nothing is.
	want func(current proto.Message) (proto.Message, error)
	// former is what it goes back to; nil: want says. With neither it is deleted.
	former *former
	// lenient lets a deletion pass where nothing is stored.
	lenient bool
	pruned  bool // deleted because its set doesn't name it any more
}

func (e *edit) deletes() bool { return e.want == nil && e.former == nil }

// terms are what every write carries besides its objects.
type terms interface {
	proto.Message
	GetValidateOnly() bool
	GetRequestId() string
	GetMessage() string
}

// single are the terms of a write of one object.
type single interface {
	terms
	GetName() string
}

func (s *service) intent(ctx context.Context, r terms, owner string, edits ...edit) (intent, error) {
	in := intent{edits: edits, validateOnly: r.GetValidateOnly(), message: r.GetMessage(), owner: owner}
	var bad admit.Violations
	for _, f := range []struct {
		name, value string
		most        int
	}{{"message", in.message, messageMost}, {"owner", owner, ownerMost}} {
		if n := len(f.value); n > f.most {
			bad = append(bad, admit.Violation{Field: f.name, Problem: fmt.Sprintf("has %d bytes, at most %d are possible", n, f.most), Fix: "shorten it"})
		}
	}
	if id := r.GetRequestId(); id != "" && !validRequestID(id) {
		bad = append(bad, admit.Violation{Field: "request_id", Problem: "is neither a ULID nor a UUID", Fix: "make a fresh one per change"})
	}
	if len(bad) > 0 {
		return in, invalid(bad)
	}
	if r.GetRequestId() != "" && !in.validateOnly {
		in.request = requestID{id: r.GetRequestId(), print: s.fingerprint(callerOf(ctx).name, r)}
	}
	return in, nil
}

// fingerprint tells two requests with one request id apart. It is stored, and a request may hold the value of a secret: so it takes the KEK.
func (s *service) fingerprint(author string, r terms) string {
	c := proto.Clone(r)
	m := c.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return "" // never matches itself: such a request was refused when it was decoded
	}
	return hex.EncodeToString(s.cfg.KEK.Fingerprint(append(fmt.Appendf(nil, "%s\x00%s\x00", m.Descriptor().FullName(), author), b...)))
}

// match sets the precondition of an edit.
func (e *edit) match(field, etag string) admit.Violations {
	if etag == "" {
		return nil
	}
	v, err := parseEtag(etag)
	if err != nil {
		return admit.Violations{{Key: e.key, Path: e.path, Field: field, Problem: err.Error(), Fix: "send back meta.etag of a read as it came, or leave it out"}}
	}
	e.etag = &v
	return nil
}
