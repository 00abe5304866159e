package hop_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const subject = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"

// rig is an upstream, a token endpoint and what stands between them and a caller, over real sockets.
type rig struct {
	t        *testing.T
	up, idp  *mcptest.Upstream
	table    *table.Table
	hop      *hop.Hop
	resolver *credential.Resolver
}

func newRig(t *testing.T, up, idp http.Handler, spec *configv1.ServerSpec) *rig {
	t.Helper()
	r := &rig{t: t, up: mcptest.Start(t, up), idp: mcptest.Start(t, idp), hop: newHop(t)}
	spec.Endpoints = []*configv1.Endpoint{{Url: r.up.URL}}
	if spec.GetAuth().GetType() == "oauth2" {
		spec.Auth.TokenUrl = r.idp.URL
	}
	var set []confset.Object
	for kind, m := range map[string]proto.Message{"server": &configv1.Server{Name: "up", Spec: spec}, "secret": &configv1.Secret{Name: "one", Spec: &configv1.SecretSpec{Value: "s3cret"}}} {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, confset.NewObject(confset.Key{Kind: kind, Name: map[string]string{"server": "up", "secret": "one"}[kind]}, "uid-"+kind, body))
	}
	var outs []table.Outcome
	if r.table, outs = table.New(table.Config{}).Apply(confset.Delta{Upserts: set}, 1, table.Version{}); len(outs) > 0 {
		t.Fatal(outs)
	}
	client, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if r.resolver, err = credential.New(credential.Config{Egress: client}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) call(method string) *hop.Call {
	s, _ := r.table.Server("up")
	c := &hop.Call{Server: s, Settings: r.table.Settings(), Method: method, Revision: "2025-11-25", Session: "s1"}
	if method == http.MethodPost {
		c.Body = []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	}
	return c
}

func (r *rig) resolve(headers http.Header) (credential.Bound, error) {
	s, _ := r.table.Server("up")
	return r.resolver.Resolve(context.Background(), &credential.Ask{Table: r.table, Server: s, Header: headers, Subject: subject, Single: true,
		Holds: func(v string) bool { return strings.Contains(v, "sk-") }})
}

// send makes the exchange, whatever its answer.
func (r *rig) send(c *hop.Call) {
	r.t.Helper()
	var rec telemetry.Record
	a, err := r.hop.Send(context.Background(), c, &rec)
	if err != nil {
		r.t.Fatal(err)
	}
	a.Close()
}

// oneShot makes a call the way a caller without a session has it made.
func (r *rig) oneShot(c *hop.Call) {
	r.t.Helper()
	c.Session, c.Revision = "", ""
	var rec telemetry.Record
	if err := r.hop.OneShot(context.Background(), c, &rec, now); err != nil {
		r.t.Fatal(err)
	}
	r.send(c)
	r.hop.Goodbye(context.Background(), c)
}

// protocol are the headers that MCP and HTTP themselves want.
var protocol = []string{"Accept", "Content-Length", "Content-Type", "Mcp-Protocol-Version", "Mcp-Session-Id", "User-Agent"}

// attached are the other headers of a request, in the order of names.
func attached(s mcptest.Seen) string {
	var out []string
	for name, values := range s.Header {
		if !slices.Contains(protocol, name) {
			out = append(out, name+": "+strings.Join(values, " AND "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func tokens() http.Handler {
	return mcptest.Status(200, "application/json", `{"access_token":"minted","token_type":"bearer","expires_in":300}`)
}

// Never again: headers that leave with one kind of request and not with another. Each auth type, with and without headers of each origin,
// over each way out, sends exactly what it should and nothing else of the caller's.
func TestTheSameHeadersLeaveOnEachWayOut(t *testing.T) {
	one := &configv1.Value{Secret: "one"}
	oauth := func(flow string) *configv1.Auth {
		return &configv1.Auth{Type: "oauth2", Flow: flow, Value: one, ClientId: "gate"}
	}
	for name, c := range map[string]struct {
		auth *configv1.Auth
		want string
	}{
		"none":               {nil, ""},
		"api key":            {&configv1.Auth{Type: "api_key", Value: one}, "X-Api-Key: s3cret"},
		"bearer":             {&configv1.Auth{Type: "bearer", Value: one}, "Authorization: Bearer s3cret"},
		"basic":              {&configv1.Auth{Type: "basic", Username: "u", Value: one}, "Authorization: Basic dTpzM2NyZXQ="},
		"authorization":      {&configv1.Auth{Type: "authorization", Value: one}, "Authorization: s3cret"},
		"passthrough":        {&configv1.Auth{Type: "passthrough"}, "Authorization: Bearer callers"},
		"client credentials": {oauth("client_credentials"), "Authorization: Bearer minted"},
		"token exchange":     {oauth("token_exchange"), "Authorization: Bearer minted"},
	} {
		for origins := range 16 {
			t.Run(fmt.Sprintf("%s %04b", name, origins), func(t *testing.T) {
				t.Parallel()
				spec, want := &configv1.ServerSpec{}, []string{}
				if c.auth != nil {
					spec.Auth = proto.CloneOf(c.auth)
				}
				if origins&1 != 0 {
					spec.Headers, want = []*configv1.Header{{Name: "x-static", Text: "t"}, {Name: "x-held", Value: one}}, append(want, "X-Held: s3cret", "X-Static: t")
				}
				if origins&2 != 0 {
					spec.ClientHeaders, want = []string{"x-client"}, append(want, "X-Client: c")
				}
				if origins&4 != 0 {
					spec.ForwardHeaders, want = []string{"x-ambient"}, append(want, "X-Ambient: a")
				}
				switch {
				case origins&8 != 0: // the caller's own credential for this server
					spec.ClientHeaders, want = append(spec.ClientHeaders, "authorization"), append(want, "Authorization: Bearer mine")
					if name == "api key" {
						want = append(want, c.want)
					}
				case c.want != "":
					want = append(want, c.want)
				}
				slices.Sort(want)
				everyWayOut(t, spec, strings.Join(want, "; "))
			})
		}
	}
}

// callers is what a caller sends: what the config may name, and what never travels.
func callers() http.Header {
	return http.Header{
		"Authorization": {"Bearer callers"}, "X-Mcp-Up-Authorization": {"Bearer mine"}, "X-Mcp-Up-X-Client": {"c"}, "X-Ambient": {"a"},
		"X-Mcp-Up-X-Unlisted": {"u"}, "X-Mcp-Down-X-Client": {"d"}, "Cookie": {"k=v"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Litellm-Api-Key": {"sk-key"},
		"X-Hopgate-Api-Key": {"sk-key"}, "Forwarded": {"for=192.0.2.1"}, "X-Client": {"not for you"}, "X-Static": {"nor this"}, "Proxy-Authorization": {"Basic eA=="},
	}
}

func everyWayOut(t *testing.T, spec *configv1.ServerSpec, want string) {
	r := newRig(t, &mcptest.Stateful{}, tokens(), spec)
	b, err := r.resolve(callers())
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
		c := r.call(method)
		c.Credential = b.Fields
		r.send(c)
	}
	c := r.call(http.MethodPost)
	c.Credential = b.Fields
	r.oneShot(c)
	var ways []string
	for _, s := range r.up.Seen() {
		ways = append(ways, s.Method)
		if got := attached(s); got != want {
			t.Errorf("%s %s sent %q, want %q", s.Method, s.Body, got, want)
		}
	}
	if got := strings.Join(ways, " "); got != "POST GET DELETE POST POST POST DELETE" {
		t.Errorf("the ways out were %s", got)
	}
}

// Redirects carry no credential anywhere, neither from the upstream nor from the token endpoint.
func TestRedirectsCarryNoCredential(t *testing.T) {
	elsewhere := mcptest.Start(t, tokens())
	for _, code := range []int{301, 302, 303, 307, 308} {
		to := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(code)
		})
		auth := func() *configv1.Auth {
			return &configv1.Auth{Type: "oauth2", Flow: "client_credentials", Value: &configv1.Value{Secret: "one"}, ClientId: "gate"}
		}
		r := newRig(t, to, tokens(), &configv1.ServerSpec{Auth: auth()})
		b, err := r.resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			c := r.call(method)
			c.Credential = b.Fields
			r.send(c)
		}
		r = newRig(t, mcptest.Stateless(), to, &configv1.ServerSpec{Auth: auth()})
		if _, err := r.resolve(nil); !strings.HasPrefix(fault.As(err).Header(), "hop=authserver; phase=token; kind=malformed") {
			t.Errorf("%d: %v", code, err)
		}
	}
	if n := len(elsewhere.Seen()); n > 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// The token endpoint is told which server the token is for (RFC 8707), and only it gets the client secret.
func TestTheTokenIsAskedForThisServer(t *testing.T) {
	r := newRig(t, mcptest.Stateless(), tokens(), &configv1.ServerSpec{
		Auth: &configv1.Auth{Type: "oauth2", Flow: "client_credentials", Value: &configv1.Value{Secret: "one"}, ClientId: "gate"}})
	if _, err := r.resolve(callers()); err != nil {
		t.Fatal(err)
	}
	seen := r.idp.Seen()
	if len(seen) != 1 || !strings.Contains(string(seen[0].Body), "resource=http%3A%2F%2F127.0.0.1") || seen[0].Header.Get("Authorization") != "Basic Z2F0ZTpzM2NyZXQ=" {
		t.Errorf("%d requests: %s", len(seen), seen[0].Body)
	}
	if n := len(r.up.Seen()); n > 0 {
		t.Errorf("the server got %d requests", n)
	}
}

// A credential that can't be sent as it is stops the call: without it the call would be somebody else's.
func TestACallNeverLeavesWithoutAPartOfItsCredential(t *testing.T) {
	r := newRig(t, mcptest.Stateless(), tokens(), &configv1.ServerSpec{})
	for _, bad := range [][]credential.Field{
		{{Name: "Authorization", Value: ""}}, {{Name: "Authorization", Value: "a\r\nX-Evil: 1"}}, {{Name: "Authorization", Value: "a\x00"}},
		{{Name: "", Value: "a"}}, {{Name: "X A", Value: "a"}}, {{Name: "X:", Value: "a"}}, {{Name: "X\r\nY", Value: "a"}}, {{Name: "Mcp-Session-Id", Value: "a"}},
		{{Name: "Host", Value: "a"}}, {{Name: "Content-Length", Value: "9"}}, {{Name: "Transfer-Encoding", Value: "chunked"}}, {{Name: "Connection", Value: "close"}},
		{{Name: "Traceparent", Value: "a"}}, {{Name: "X-A", Value: "a"}, {Name: "X-A", Value: "b"}},
	} {
		c := r.call(http.MethodPost)
		c.Credential = bad
		var rec telemetry.Record
		if _, err := r.hop.Send(context.Background(), c, &rec); fault.As(err) == nil || fault.As(err).Kind != fault.Internal {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n := len(r.up.Seen()); n > 0 {
		t.Errorf("%d requests left", n)
	}
}
