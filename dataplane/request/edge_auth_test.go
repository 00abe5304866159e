package request_test

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// challenged returns where a refused caller is sent to, and what the document there calls the resource.
func challenged(t *testing.T, g *gateway, path string, heads ...string) (metadata, resource string) {
	t.Helper()
	heads = append([]string{"X-Litellm-Api-Key", ""}, heads...)
	a := g.send(t, "POST", path, list, heads...)
	_, rest, found := strings.Cut(a.header.Get("Www-Authenticate"), `resource_metadata="`)
	metadata, _, _ = strings.Cut(rest, `"`)
	if a.status != 401 || !found {
		t.Fatalf("%s: %d %q", path, a.status, a.header.Get("Www-Authenticate"))
	}
	at := metadata[strings.Index(metadata, "/.well-known"):]
	return metadata, text(field(g.send(t, "GET", at, "", heads...).body, "resource"))
}

func fronted(t *testing.T, ingress *configv1.IngressSpec) *gateway {
	s := one("http://127.0.0.1:1/mcp")
	s.open = true
	s.more = []confset.Object{provider(t, jwttest.New(t, jwttest.NewKey(t, "k1", "RS256"))),
		object(t, "ingress", "front", &configv1.Ingress{Name: "front", Spec: ingress})}
	return start(t, s)
}

// Behind a proxy that ends TLS the documents name scheme, host and path as callers see them, when that proxy is trusted, and not as anybody says.
func TestDocumentsNameTheOutsideBehindTLS(t *testing.T) {
	trusted := fronted(t, &configv1.IngressSpec{UseForwardedHeaders: true, TrustedProxies: []string{"127.0.0.1"},
		PublicOrigins: []string{"https://mcp.example.com", "https://eu.example.com:8443"}})
	public := fronted(t, &configv1.IngressSpec{PublicOrigins: []string{"https://mcp.example.com"}})
	for _, path := range []string{"/mcp", "/up/mcp", "/mcp/up"} {
		for host, origin := range map[string]string{"mcp.example.com": "https://mcp.example.com", "eu.example.com:8443": "https://eu.example.com:8443"} {
			metadata, resource := challenged(t, trusted, path, "Host", "pod-7.internal:4000", "X-Forwarded-Proto", "https",
				"X-Forwarded-Host", host, "X-Forwarded-For", "192.0.2.1")
			if metadata != origin+"/.well-known/oauth-protected-resource"+path || resource != origin+path {
				t.Errorf("%s at %s: %s, %s", path, host, metadata, resource)
			}
		}
		for _, heads := range [][]string{{"Host", "pod-7.internal"}, {"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http"},
			{"Host", "evil.example", "X-Forwarded-Host", "evil.example"}} {
			metadata, resource := challenged(t, public, path, heads...)
			if metadata != "https://mcp.example.com/.well-known/oauth-protected-resource"+path || resource != "https://mcp.example.com"+path {
				t.Errorf("%s, %q: %s, %s", path, heads, metadata, resource)
			}
		}
	}
}

// The resource is the URL that was used, without the slash or query that change nothing about it: clients compare what they used with it.
func TestTheResourceIsTheURLThatWasUsed(t *testing.T) {
	g := fronted(t, &configv1.IngressSpec{PublicOrigins: []string{"https://mcp.example.com"}})
	for _, path := range []string{"/mcp", "/up/mcp", "/mcp/up", "/up,other/mcp", "/toolset/any/mcp"} {
		for _, used := range []string{path, path + "/", path + "?x=1"} {
			metadata, resource := challenged(t, g, used)
			if resource != "https://mcp.example.com"+path || metadata != "https://mcp.example.com/.well-known/oauth-protected-resource"+path {
				t.Errorf("%s: %s, %s", used, metadata, resource)
			}
		}
	}
}
