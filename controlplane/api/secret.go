package api

import (
	"bytes"
	"crypto/subtle"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// fieldValue is where a secret's value is written.
const fieldValue = "spec.value"

// hide removes what nobody may read from a message that was stored.
func hide(m proto.Message) {
	if s, ok := m.(*configv1.Secret); ok && s.GetSpec() != nil {
		s.Spec.Value, s.Spec.Sealed = "", nil
	}
}

// sealedOf returns the sealed value in a stored body; nothing for other kinds.
func sealedOf(o confset.Object) []byte {
	m := &configv1.Secret{}
	if o.Key.Kind != secret.KindSecret || proto.Unmarshal(o.Body, m) != nil {
		return nil
	}
	return m.GetSpec().GetSealed()
}

// hiddenChanges names fields in which two bodies of an object differ though no answer shows them.
func hiddenChanges(a, b confset.Object) []string {
	if bytes.Equal(sealedOf(a), sealedOf(b)) {
		return nil
	}
	return []string{fieldValue}
}

// bodies are the forms an object takes on its way in.
type bodies struct {
	stored  []byte           // as it is kept
	message proto.Message    // as it is judged: a secret with its value
	pushed  *confset.Object  // as a data plane gets it; nil: as it is kept
	found   rules.Violations // what is wrong with how it was sent
}

// form works out the forms of an object that is wanted. The body of a secret is the stored one as long as its value and everything else are.
func (s *service) form(e edit, want proto.Message, current *store.Head, uid string) (b bodies, err error) {
	b.message = want
	sent, ok := want.(*configv1.Secret)
	if !ok {
		b.stored, err = rules.Body(want)
		return b, err
	}
	sealed, value, found, err := s.value(e.key, sent.GetSpec().GetValue(), current, uid)
	if err != nil {
		return b, err
	}
	found = append(found, rules.Unexpanded(sent.GetSpec().GetValue())...)
	kept, whole := proto.CloneOf(sent), proto.CloneOf(sent)
	if kept.Spec == nil {
		kept.Spec, whole.Spec = &configv1.SecretSpec{}, &configv1.SecretSpec{}
	}
	kept.Spec.Value, kept.Spec.Sealed, whole.Spec.Value = "", sealed, value
	b.message, b.found = whole, found
	if b.stored, err = rules.Body(kept); err != nil {
		return b, err
	}
	body, err := rules.Body(whole)
	o := confset.NewObject(e.key, uid, body)
	b.pushed = &o
	return b, err
}

// value returns what a secret's value is after a write, sealed and open. Without a new one the stored one stays, and the same one isn't
// sealed again, so that writing it twice changes nothing.
func (s *service) value(key confset.Key, sent string, current *store.Head, uid string) (sealed []byte, value string, found rules.Violations, err error) {
	if current == nil {
		if sent == "" {
			return nil, "", rules.Violations{{Field: fieldValue, Problem: "is missing", Fix: "write the credential"}}, nil
		}
		sealed, err = s.cfg.KEK.SealValue(key, uid, sent)
		return sealed, sent, nil, err
	}
	sealed = sealedOf(current.Object)
	was, closed := s.cfg.KEK.OpenValue(key, uid, sealed)
	switch {
	case sent == "" && closed != nil:
		return nil, "", rules.Violations{{Field: fieldValue, Problem: "is missing, and the stored one doesn't open with the key of this control plane",
			Fix: "write the credential again"}}, nil
	case sent == "", closed == nil && subtle.ConstantTimeCompare([]byte(sent), []byte(was)) == 1:
		return sealed, was, nil, nil
	}
	sealed, err = s.cfg.KEK.SealValue(key, uid, sent)
	return sealed, sent, nil, err
}

// unsealed finds a sealed value in what was sent, also where no mask names it: nobody outside can have made one.
func (e *edit) unsealed(sent proto.Message) admit.Violations {
	if s, ok := sent.(*configv1.Secret); ok && len(s.GetSpec().GetSealed()) > 0 {
		return admit.Violations{{Key: e.key, Path: e.path, Field: "spec.sealed", Problem: "is internal", Fix: "remove it, and write value to change the secret"}}
	}
	return nil
}

// statusOf says how the fleet took an object. Secrets are pushed with another body than the stored one, and only to where they are needed.
func (s *service) statusOf(h store.Head) *configv1.ObjectStatus {
	if h.Object.Key.Kind != secret.KindSecret {
		return s.cfg.Fleet.ObjectStatus(h.Object)
	}
	pushed, err := s.open(h)
	if err == nil {
		return s.cfg.Fleet.ScopedStatus(pushed, h.Revision)
	}
	word := "the stored value is damaged; write it again"
	if errors.Is(err, secret.ErrWrongKey) {
		word = "the stored value doesn't open with the key of this control plane: put the key file back that was in use when it was stored, or write it again"
	}
	return &configv1.ObjectStatus{Refusals: []*configv1.Refusal{{
		Node: s.cfg.Replica, Field: fieldValue, Text: word, Since: timestamppb.New(h.Updated), Rejected: true,
	}}}
}
