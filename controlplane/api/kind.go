package api

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// object is what the messages of all kinds have in common.
type object interface {
	proto.Message
	GetName() string
	GetMeta() *configv1.ObjectMeta
}

// kinds maps the messages that operators write to their kind. Internal kinds aren't in it.
var kinds = func() map[protoreflect.FullName]string {
	out := map[protoreflect.FullName]string{}
	for _, k := range rules.Kinds() {
		out[rules.New(k).ProtoReflect().Descriptor().FullName()] = k
	}
	return out
}()

// kindOf returns the kind of a message; m may be a nil pointer.
func kindOf(m proto.Message) string { return kinds[m.ProtoReflect().Descriptor().FullName()] }

// open says whether operators may see objects of this kind.
func open(kind string) bool { return slices.Contains(rules.Kinds(), kind) }

// absent says whether m is a message that wasn't sent.
func absent(m proto.Message) bool { return m == nil || !m.ProtoReflect().IsValid() }

// decode turns a stored body into the kind's message, without meta, status and what nobody may read.
func decode(o confset.Object) (proto.Message, error) {
	m := rules.New(o.Key.Kind)
	if err := proto.Unmarshal(o.Body, m); err != nil {
		return nil, fmt.Errorf("%s is stored with a body that doesn't decode: %w", o.Key, err)
	}
	hide(m)
	return m, nil
}

// present turns a head into what callers see.
func (s *service) present(h store.Head) (proto.Message, error) {
	m, err := decode(h.Object)
	if err != nil {
		return nil, err
	}
	setField(m, "meta", metaOf(h))
	if h.Revision == 0 {
		return m, nil
	}
	if st := s.statusOf(h); st != nil {
		setField(m, "status", st)
	}
	return m, nil
}

func setField(m proto.Message, name protoreflect.Name, v proto.Message) {
	r := m.ProtoReflect()
	r.Set(r.Descriptor().Fields().ByName(name), protoreflect.ValueOfMessage(v.ProtoReflect()))
}

func metaOf(h store.Head) *configv1.ObjectMeta {
	meta := &configv1.ObjectMeta{Uid: h.Object.UID, Generation: h.Generation, Change: h.Change, Owner: h.Owner, Set: h.Set}
	if h.Revision > 0 {
		meta.Etag = etagOf(h)
	}
	if !h.Created.IsZero() {
		meta.CreateTime = timestamppb.New(h.Created)
	}
	if !h.Updated.IsZero() {
		meta.UpdateTime = timestamppb.New(h.Updated)
	}
	return meta
}
