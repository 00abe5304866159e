package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	contract "github.com/hopgate/hopgate/proto"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// samples is a spec of every kind that is good by itself.
var samples = map[string]string{
	"server":           demo,
	"apikey":           `{"spec":{"sha256":"` + sum("sk-sample-0123456789") + `","servers":["*"]}}`,
	"settings":         `{"spec":{"limits":{"depth":32}}}`,
	"ingress":          `{"spec":{"regions":["eu"],"public_origins":["https://mcp.example.com"]}}`,
	"team":             `{"spec":{"servers":["*"]}}`,
	"identityprovider": `{"spec":{"issuer":"https://issuer.example.com","audiences":["https://mcp.example.com/mcp"],"grants":[{"servers":["*"]}]}}`,
	"secret":           `{"spec":{"value":"` + sampleValue + `"}}`,
	"toolset":          `{"spec":{"tools":[{"server":"github","tool":"search"}]}}`,
	"overlay":          `{"spec":{"kind":"server","target":"overlaid","region":"eu","server":{"timeouts":{"total":"1m"}}}}`,
}

const sampleValue = "sample-value-0123456789"

// sampleName is what a sample of a kind is called.
func sampleName(kind string) string {
	if kind == "settings" {
		return rules.SettingsName
	}
	return "sample"
}

// fixed is a face of the API over which an object of one kind is written and read. Each returns the code of the answer, and the object if there
// is one.
type fixed struct {
	get    func() (string, codes.Code)
	put    func(body string) codes.Code
	update func(body string) codes.Code
	remove func() codes.Code
	list   func() (string, codes.Code)
	change func(json string) codes.Code
}

func TestEveryKindIsServedOnBothFaces(t *testing.T) {
	if len(rules.Kinds()) != len(samples) {
		t.Errorf("%d kinds, %d samples: write a sample of the new one", len(rules.Kinds()), len(samples))
	}
	for _, kind := range rules.Kinds() {
		for face, make := range map[string]func(*plane, string) fixed{"REST": overREST, "gRPC": overGRPC} {
			t.Run(kind+" over "+face, func(t *testing.T) {
				p := start(t, memstore.New())
				p.TB = t
				p.must(200, "PUT", "/v1/servers/overlaid", demo) // what the sample of an overlay is for
				walkThrough(t, make(p, kind), kind)
			})
		}
	}
}

// walkThrough makes, reads, changes and removes an object by every call.
func walkThrough(t *testing.T, f fixed, kind string) {
	name, sample := sampleName(kind), samples[kind]
	want := func(what string, got, want codes.Code) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	want("put", f.put(sample), codes.OK)
	want("update", f.update(`{"labels":{"touched":"yes"}}`), codes.OK)
	for what, read := range map[string]func() (string, codes.Code){"get": f.get, "list": f.list} {
		body, code := read()
		want(what, code, codes.OK)
		if !strings.Contains(body, name) || !strings.Contains(body, "touched") || strings.Contains(body, sampleValue) {
			t.Errorf("%s: %s", what, body)
		}
	}
	want("delete", f.remove(), codes.OK)
	_, code := f.get()
	want("get what is gone", code, codes.NotFound)
	want("change that puts", f.change(fmt.Sprintf(`{"objects":[{%q:{"name":%q,%s}]}`, kind, name, sample[1:])), codes.OK)
	_, code = f.get()
	want("get after the change", code, codes.OK)
	want("change that deletes", f.change(fmt.Sprintf(`{"deletions":[{"kind":%q,"name":%q}]}`, kind, name)), codes.OK)
	_, code = f.get()
	want("get after the deletion", code, codes.NotFound)
}

// paths returns the path and verb of every call, by its name, as the OpenAPI document has them.
func paths(t testing.TB) map[string][2]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal(contract.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][2]string{}
	for path, ops := range doc.Paths {
		for verb, op := range ops {
			out[strings.TrimPrefix(op.OperationID, "AdminService_")] = [2]string{strings.ToUpper(verb), path}
		}
	}
	return out
}

func overREST(p *plane, kind string) fixed {
	routes, title := paths(p), rules.Title(kind)
	do := func(call, body string) (string, codes.Code) {
		route, ok := routes[call]
		if !ok {
			p.Errorf("the OpenAPI document has no call %s", call)
		}
		a := p.do(route[0], strings.Replace(route[1], "{name}", sampleName(kind), 1), body)
		if a.status == 200 {
			return a.body, codes.OK
		}
		var e struct{ Code codes.Code }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Code != codes.NotFound {
			p.Logf("%s: %d %s", call, a.status, a.body)
		}
		return a.body, e.Code
	}
	code := func(_ string, c codes.Code) codes.Code { return c }
	return fixed{
		get:    func() (string, codes.Code) { return do("Get"+title, "") },
		list:   func() (string, codes.Code) { return do(string(listOf(p, kind).Name()), "") },
		put:    func(body string) codes.Code { return code(do("Put"+title, body)) },
		update: func(body string) codes.Code { return code(do("Update"+title, body)) },
		remove: func() codes.Code { return code(do("Delete"+title, "")) },
		change: func(body string) codes.Code { return code(do("CreateChange", body)) },
	}
}

var methods = adminv1.File_hopgate_admin_v1_admin_proto.Services().ByName("AdminService").Methods()

// listOf is the call that answers a page of a kind.
func listOf(t testing.TB, kind string) protoreflect.MethodDescriptor {
	t.Helper()
	message := rules.New(kind).ProtoReflect().Descriptor()
	for i := range methods.Len() {
		f := methods.Get(i).Output().Fields().ByNumber(1)
		if f != nil && f.IsList() && f.Message() != nil && f.Message().FullName() == message.FullName() {
			return methods.Get(i)
		}
	}
	t.Fatalf("no call lists the kind %s", kind)
	return nil
}

func overGRPC(p *plane, kind string) fixed {
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(p.Context(), "authorization", "Bearer "+p.key)
	title := rules.Title(kind)
	do := func(call string, fill func(protoreflect.Message)) (string, codes.Code) {
		return invoke(ctx, p, conn, call, fill)
	}
	named := func(m protoreflect.Message) {
		if f := m.Descriptor().Fields().ByName("name"); f != nil {
			m.Set(f, protoreflect.ValueOfString(sampleName(kind)))
		}
	}
	with := func(body string) func(protoreflect.Message) {
		return func(m protoreflect.Message) {
			named(m)
			f := m.Descriptor().Fields().ByNumber(2)
			parse(p, body, m.Mutable(f).Message().Interface())
		}
	}
	code := func(_ string, c codes.Code) codes.Code { return c }
	return fixed{
		get:    func() (string, codes.Code) { return do("Get"+title, named) },
		list:   func() (string, codes.Code) { return do(string(listOf(p, kind).Name()), named) },
		put:    func(body string) codes.Code { return code(do("Put"+title, with(body))) },
		update: func(body string) codes.Code { return code(do("Update"+title, with(body))) },
		remove: func() codes.Code { return code(do("Delete"+title, named)) },
		change: func(body string) codes.Code {
			return code(do("CreateChange", func(m protoreflect.Message) { parse(p, body, m.Interface()) }))
		},
	}
}

// invoke makes a gRPC call by name.
func invoke(ctx context.Context, t testing.TB, conn *grpc.ClientConn, call string, fill func(protoreflect.Message)) (string, codes.Code) {
	t.Helper()
	m := methods.ByName(protoreflect.Name(call))
	if m == nil {
		t.Fatalf("the service has no call %s", call)
	}
	in, out := blank(t, m.Input()), blank(t, m.Output())
	fill(in.ProtoReflect())
	err := conn.Invoke(ctx, fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()), in, out)
	if c := status.Code(err); c != codes.OK && c != codes.NotFound {
		t.Logf("%s: %v", call, err)
	}
	return protojson.Format(out), status.Code(err)
}

func blank(t testing.TB, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

func parse(t testing.TB, body string, m proto.Message) {
	t.Helper()
	if err := protojson.Unmarshal([]byte(body), m); err != nil {
		t.Fatal(err)
	}
}

// A viewer reads every kind and writes none, by the name of the call: a new one that reads must be listed, one that writes never is.
func TestViewersReadEveryKindAndWriteNone(t *testing.T) {
	p := start(t, memstore.New())
	withKeys(p)
	viewer := p.as(viewerKey)
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+viewer.key)
	for i := range methods.Len() {
		if methods.Get(i).IsStreamingServer() {
			continue // it has tests of its own
		}
		name := string(methods.Get(i).Name())
		reads := strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Diff") || strings.HasPrefix(name, "Explain") || strings.HasPrefix(name, "Explain")
		_, code := invoke(ctx, t, conn, name, func(protoreflect.Message) {})
		if reads == (code == codes.PermissionDenied) {
			t.Errorf("%s: %s", name, code)
		}
	}
}
