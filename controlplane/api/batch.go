package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// CreateChange writes and deletes many objects, all or nothing.
func (s *service) CreateChange(ctx context.Context, r *adminv1.CreateChangeRequest) (*adminv1.Change, error) {
	var bad admit.Violations
	edits := make([]edit, 0, len(r.GetObjects())+len(r.GetDeletions()))
	for i, o := range r.GetObjects() {
		e, v := putEdit(i, o)
		edits, bad = append(edits, e), append(bad, v...)
	}
	for i, n := range r.GetDeletions() {
		e, v := deleteEdit(i, n)
		edits, bad = append(edits, e), append(bad, v...)
	}
	if len(edits) == 0 && !r.GetPrune() {
		bad = append(bad, admit.Violation{Problem: "nothing to change", Fix: "send objects or deletions"})
	}
	staged, v := checkRollout(r)
	bad = append(bad, v...)
	if bad = append(bad, checkSet(r)...); len(bad) > 0 {
		return nil, invalid(bad)
	}
	in, err := s.intent(ctx, r, r.GetOwner(), edits...)
	if err != nil {
		return nil, err
	}
	in.rollout = staged
	in.set, in.prune, in.pruneMany = r.GetSet(), r.GetPrune(), r.GetPruneMany()
	return s.many(ctx, in)
}

// many runs an intent of any number of objects and answers the change.
func (s *service) many(ctx context.Context, in intent) (*adminv1.Change, error) {
	out, err := s.apply(ctx, in)
	if err != nil {
		return nil, refusal(err)
	}
	c, err := s.answer(ctx, in, out)
	if err != nil {
		return nil, refusal(err)
	}
	return c, nil
}

func putEdit(i int, o *adminv1.Object) (edit, admit.Violations) {
	path := fmt.Sprintf("objects[%d]", i)
	m := o.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("object"))
	if f == nil {
		return edit{}, admit.Violations{{Path: path, Problem: "holds no object", Fix: "set one of " + strings.Join(oneofNames(m.Descriptor().Oneofs().ByName("object")), ", ")}}
	}
	obj, ok := m.Get(f).Message().Interface().(object)
	if !ok {
		return edit{}, admit.Violations{{Path: path, Problem: "isn't an object that can be written"}}
	}
	e := edit{key: confset.Key{Kind: kindOf(obj), Name: obj.GetName()}, path: path + "." + string(f.Name())}
	e.want = func(proto.Message) (proto.Message, error) { return obj, nil }
	if obj.GetName() == "" {
		return e, admit.Violations{{Path: e.path, Field: "name", Problem: "is missing", Fix: "name the object"}}
	}
	return e, append(e.unsealed(obj), e.match("meta.etag", obj.GetMeta().GetEtag())...)
}

func deleteEdit(i int, n *adminv1.ObjectName) (edit, admit.Violations) {
	e := edit{path: fmt.Sprintf("deletions[%d]", i)}
	kind, ok := rules.Canonical(n.GetKind())
	if !ok || !open(kind) {
		return e, admit.Violations{{Path: e.path, Field: "kind", Problem: fmt.Sprintf("is %q", n.GetKind()), Fix: "use one of " + strings.Join(slices.Sorted(slices.Values(rules.Kinds())), ", ")}}
	}
	e.key = confset.Key{Kind: kind, Name: n.GetName()}
	if n.GetName() == "" {
		return e, admit.Violations{{Path: e.path, Field: "name", Problem: "is missing", Fix: "name the object"}}
	}
	return e, e.match("etag", n.GetEtag())
}

func oneofNames(o protoreflect.OneofDescriptor) (names []string) {
	for i := range o.Fields().Len() {
		names = append(names, string(o.Fields().Get(i).Name()))
	}
	return names
}
