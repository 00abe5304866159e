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
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

// ExplainObject says what a data plane of a region and group makes of an object, by the function that data planes use.
func (s *service) ExplainObject(_ context.Context, r *adminv1.ExplainObjectRequest) (*adminv1.ExplainObjectResponse, error) {
	if bad := explainable(r); len(bad) > 0 {
		return nil, invalid(bad)
	}
	key := confset.Key{Kind: r.GetKind(), Name: r.GetName()}
	h, ok := s.cfg.Index.Get(key.Kind, key.Name)
	if !ok {
		return nil, missing(key, s.near(key))
	}
	base, err := decode(h.Object)
	if err != nil {
		return nil, refusal(err)
	}
	e, err := overlay.Explain(key.Kind, key.Name, base, s.cfg.Gate.Overlays(key), overlay.Place{Region: r.GetRegion(), Group: r.GetGroup()})
	if err != nil {
		return nil, refusal(err)
	}
	return explained(key.Kind, e), nil
}

func explainable(r *adminv1.ExplainObjectRequest) (bad admit.Violations) {
	if kinds := overlay.Targets(); !slices.Contains(kinds, r.GetKind()) {
		bad = append(bad, admit.Violation{Field: "kind", Problem: fmt.Sprintf("is %q, which has no overlays", rules.Tellable(r.GetKind())),
			Fix: "use one of " + strings.Join(kinds, ", ")})
	}
	if r.GetName() == "" {
		bad = append(bad, admit.Violation{Field: "name", Problem: "is missing", Fix: "name the object"})
	}
	if r.GetRegion() == "" {
		bad = append(bad, admit.Violation{Field: "region", Problem: "is missing", Fix: "name the region of the data plane"})
	}
	return bad
}

// explained is an explanation as the API writes it.
func explained(kind string, e *overlay.Explanation) *adminv1.ExplainObjectResponse {
	out := &adminv1.ExplainObjectResponse{Object: objectOf(kind, e.Object)}
	for _, l := range e.Layers {
		out.Layers = append(out.Layers, &adminv1.Layer{Object: l.Object, Why: l.Why, Applied: l.Applied})
	}
	for _, o := range e.Origins {
		out.Origins = append(out.Origins, &adminv1.Origin{Path: o.Path, Overlay: o.Overlay, Before: o.Before, After: o.After, Overruled: o.Overruled})
	}
	return out
}

// objectOf is an object of a kind as one of any.
func objectOf(kind string, m proto.Message) *adminv1.Object {
	o := &adminv1.Object{}
	r := o.ProtoReflect()
	r.Set(r.Descriptor().Fields().ByName(protoreflect.Name(kind)), protoreflect.ValueOfMessage(m.ProtoReflect()))
	return o
}
