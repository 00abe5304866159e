package wellknown_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/wellknown"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// public is the origin in these tests.
const public = "https://mcp.example.com"

// believing returns a table of a gateway that takes tokens of these issuers.
func believing(t *testing.T, issuers ...string) *table.Table {
	t.Helper()
	var d confset.Delta
	for _, iss := range issuers {
		name := strings.NewReplacer("https://", "", ".", "-").Replace(iss)
		body, err := proto.Marshal(&configv1.IdentityProvider{Name: name, Spec: &configv1.IdentityProviderSpec{
			Issuer: iss, Audiences: []string{public + "/*"}, JwksUrl: iss + "/jwks"}})
		if err != nil {
			t.Fatal(err)
		}
		d.Upserts = append(d.Upserts, confset.NewObject(confset.Key{Kind: "identityprovider", Name: name}, "uid-"+name, body))
	}
	out, notes := table.New(table.Config{}).Apply(d, 1, table.Version{Revision: 1, Epoch: "e"})
	if len(out.Providers()) != len(issuers) {
		t.Fatal(notes)
	}
	return out
}

func document(t *testing.T, path string, tb *table.Table) map[string]any {
	t.Helper()
	door := endpoint.Parse(path)
	body, err := wellknown.Answer(door.Kind, door.Name, tb, public)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	return m
}

var routes = []string{"", "/mcp", "/everything/mcp", "/mcp/everything", "/a,b/mcp", "/no_such_server/mcp"}

func TestResourceIsTheURLOfTheRoute(t *testing.T) {
	tb := believing(t, "https://a.example", "https://b.example")
	for _, route := range routes {
		m := document(t, "/.well-known/oauth-protected-resource"+route, tb)
		if m["resource"] != public+route {
			t.Errorf("%q: %v", route, m["resource"])
		}
		servers, _ := m["authorization_servers"].([]any)
		if !slices.Equal(servers, []any{"https://a.example", "https://b.example"}) {
			t.Errorf("%q: %v", route, servers)
		}
		if methods, _ := m["bearer_methods_supported"].([]any); !slices.Equal(methods, []any{"header"}) || m["resource_name"] == "" {
			t.Errorf("%q: %v", route, m)
		}
	}
}

func TestIssuerIsWhatTheURLWasDerivedFrom(t *testing.T) {
	tb := believing(t, "https://a.example")
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		for _, route := range routes {
			m := document(t, "/.well-known/"+name+route, tb)
			if m["issuer"] != public+route {
				t.Errorf("%s%s: %v", name, route, m["issuer"])
			}
			for _, list := range []string{"response_types_supported", "grant_types_supported"} {
				if l, ok := m[list].([]any); !ok || len(l) > 0 {
					t.Errorf("%s%s: %s is %v, want an empty list", name, route, list, m[list])
				}
			}
			if l, _ := m["protected_resources"].([]any); !slices.Equal(l, []any{public + route}) {
				t.Errorf("%s%s: %v", name, route, l)
			}
			for k := range m {
				if strings.HasSuffix(k, "_endpoint") {
					t.Errorf("%s%s promises %s", name, route, k)
				}
			}
		}
	}
}

func TestKeySetIsEmpty(t *testing.T) {
	if m := document(t, "/.well-known/jwks.json", believing(t, "https://a.example")); len(m) != 1 || len(m["keys"].([]any)) != 0 {
		t.Errorf("got %v", m)
	}
}

func TestAGatewayOfKeysHasNoDocuments(t *testing.T) {
	none := table.New(table.Config{})
	for _, kind := range []endpoint.Kind{endpoint.ProtectedResource, endpoint.AuthServer, endpoint.OpenID, endpoint.JWKS} {
		for _, route := range routes {
			_, err := wellknown.Answer(kind, route, none, public)
			if f := fault.As(err); f == nil || f.HTTPStatus() != 404 {
				t.Errorf("%d %q: %v", kind, route, err)
			}
		}
	}
}

func TestAnUnknownNameOfOursIsTheCallersFault(t *testing.T) {
	_, err := wellknown.Answer(endpoint.ProtectedResource, "/mcp", believing(t, "https://a.example"), "")
	if f := fault.As(err); f == nil || f.HTTPStatus() != 400 {
		t.Errorf("got %v", err)
	}
}
