package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	contract "github.com/hopgate/hopgate/proto"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// route is one REST call. Routes are read from the served OpenAPI document, so that what is documented is what is answered.
type route struct {
	method   string
	segments []string // of the path; one in braces is a variable
	rpc      string   // /hopgate.admin.v1.AdminService/PutServer
	query    []protoreflect.FieldDescriptor
	body     protoreflect.MessageType // nil: it takes none
}

func readRoutes() ([]route, error) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(contract.OpenAPI(), &doc); err != nil {
		return nil, fmt.Errorf("api: openapi: %w", err)
	}
	methods := adminv1.File_hopgate_admin_v1_admin_proto.Services().ByName("AdminService").Methods()
	var routes []route
	for path, ops := range doc.Paths {
		for verb, op := range ops {
			name := strings.TrimPrefix(op.OperationID, "AdminService_")
			m := methods.ByName(protoreflect.Name(name))
			if m == nil {
				return nil, fmt.Errorf("api: openapi: %s %s is the unknown call %s", verb, path, op.OperationID)
			}
			r := route{method: strings.ToUpper(verb), segments: strings.Split(path[1:], "/"), rpc: fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())}
			taken := map[string]bool{}
			for _, p := range op.Parameters {
				taken[p.Name] = p.In != "query"
				if p.In == "body" {
					var err error
					if r.body, err = bodyOf(m.Input(), p.Name); err != nil {
						return nil, err
					}
					taken["*"] = p.Name == "body"
				}
			}
			if !taken["*"] {
				r.query = queryOf(m.Input(), taken)
			}
			routes = append(routes, r)
		}
	}
	return routes, nil
}

// bodyOf is the type of a body: a field of the request, or all of it.
func bodyOf(in protoreflect.MessageDescriptor, param string) (protoreflect.MessageType, error) {
	md := in
	if f := in.Fields().ByName(protoreflect.Name(param)); f != nil {
		md = f.Message()
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		return nil, fmt.Errorf("api: openapi: body of %s: %w", in.Name(), err)
	}
	return t, nil
}

// queryOf are the fields that a query may set: what fits into one parameter and isn't in the path or the body. The document leaves out
// update_mask, so they come from the message.
func queryOf(in protoreflect.MessageDescriptor, taken map[string]bool) (out []protoreflect.FieldDescriptor) {
	for i := range in.Fields().Len() {
		f := in.Fields().Get(i)
		scalar := f.Message() == nil || f.Message().FullName() == "google.protobuf.FieldMask"
		if scalar && !f.IsList() && !taken[string(f.Name())] {
			out = append(out, f)
		}
	}
	return out
}

// find returns the route of a request; if only the method is wrong, the methods that aren't.
func find(routes []route, method, path string) (found *route, allowed []string) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	verbs := slices.ContainsFunc(routes, func(r route) bool { return (&r).verb() != "" && slices.EqualFunc(r.segments, segments, matches) })
	for i := range routes {
		if !slices.EqualFunc(routes[i].segments, segments, matches) || verbs && routes[i].verb() == "" {
			continue
		}
		if routes[i].method == method {
			return &routes[i], nil
		}
		allowed = append(allowed, routes[i].method)
	}
	slices.Sort(allowed)
	return nil, allowed
}

// verb is what a path does with a resource, as in {id}:revert; empty for most.
func (r *route) verb() string {
	_, verb, _ := strings.Cut(r.segments[len(r.segments)-1], "}:")
	return verb
}

func matches(pattern, segment string) bool {
	if _, verb, ok := strings.Cut(pattern, "}:"); ok {
		id, named := strings.CutSuffix(segment, ":"+verb)
		return named && id != ""
	}
	return segment != "" && (pattern == segment || strings.HasPrefix(pattern, "{"))
}
