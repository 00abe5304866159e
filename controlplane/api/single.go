package api

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// masked are requests with an update mask.
type masked interface {
	GetUpdateMask() *fieldmaskpb.FieldMask
}

// put creates or replaces one object.
func put[T object](ctx context.Context, s *service, r single, obj T) (T, error) {
	e, err := aim(ctx, r, obj)
	if err != nil {
		return obj, err
	}
	return write[T](ctx, s, r, e)
}

// update changes masked fields of one object.
func update[T object](ctx context.Context, s *service, r interface {
	single
	masked
}, obj T) (T, error) {
	e, err := aim(ctx, r, obj)
	if err != nil {
		return obj, err
	}
	patch, err := e.want(nil)
	if err != nil {
		return obj, err
	}
	paths := r.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		paths = setPaths(patch)
	}
	if bad := checkPaths(patch.ProtoReflect().Descriptor(), paths); len(bad) > 0 {
		return obj, invalid(bad)
	}
	e.exists = true
	e.want = func(current proto.Message) (proto.Message, error) { return merge(current, patch, paths), nil }
	return write[T](ctx, s, r, e)
}

// aim makes an edit of one named object that wants it as sent.
func aim[T object](ctx context.Context, r single, obj T) (edit, error) {
	e := edit{key: confset.Key{Kind: kindOf(obj), Name: r.GetName()}}
	if absent(obj) {
		return e, invalidField(e.key.Kind, "is missing", "send the object")
	}
	if obj.GetName() != "" && obj.GetName() != r.GetName() {
		return e, invalidField("name", fmt.Sprintf("is %q, but the request is for %q", obj.GetName(), r.GetName()), "leave it out or make them equal")
	}
	if err := e.expect(ctx, "meta.etag", obj.GetMeta().GetEtag()); err != nil {
		return e, err
	}
	if bad := e.unsealed(obj); len(bad) > 0 {
		return e, invalid(bad)
	}
	c := proto.Clone(obj)
	f := c.ProtoReflect().Descriptor().Fields().ByName("name")
	c.ProtoReflect().Set(f, protoreflect.ValueOfString(r.GetName()))
	e.want = func(proto.Message) (proto.Message, error) { return c, nil }
	return e, nil
}

// write runs an intent with one edit and answers the object as it is then.
func write[T object](ctx context.Context, s *service, r single, e edit) (T, error) {
	var none T
	in, err := s.intent(ctx, r, "", e)
	if err != nil {
		return none, err
	}
	out, err := s.apply(ctx, in)
	if err != nil {
		return none, refusal(err)
	}
	return shown[T](s, out.heads[0])
}

// remove deletes one object of the kind of T.
func remove[T object](ctx context.Context, s *service, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	var kind T
	e := edit{key: confset.Key{Kind: kindOf(kind), Name: r.GetName()}}
	if err := e.expect(ctx, "etag", r.GetEtag()); err != nil {
		return nil, err
	}
	in, err := s.intent(ctx, r, "", e)
	if err != nil {
		return nil, err
	}
	out, err := s.apply(ctx, in)
	if err != nil {
		return nil, refusal(err)
	}
	return &adminv1.DeleteResponse{Change: out.record.ID}, nil
}

// expect sets the precondition of a single-object write from the request, or from an If-Match header that the REST face passed on.
func (e *edit) expect(ctx context.Context, field, etag string) error {
	header := ""
	if v := metadata.ValueFromIncomingContext(ctx, ifMatchKey); len(v) > 0 {
		header = strings.TrimSpace(v[0])
	}
	if header == "*" {
		e.exists = true
		header = ""
	}
	if header != "" {
		unquoted := strings.TrimSuffix(strings.TrimPrefix(header, `"`), `"`)
		if etag != "" && etag != unquoted {
			return invalidField(field, "differs from the If-Match header", "send one of them")
		}
		etag = unquoted
	}
	if bad := e.match(field, etag); len(bad) > 0 {
		return invalid(bad)
	}
	return nil
}
