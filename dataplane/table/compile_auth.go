package table

import (
	"slices"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/redact"
	"github.com/hopgate/hopgate/proto/rules"
)

func compileAuth(m *configv1.Auth, target *Target, n *notes) Auth {
	a := Auth{
		Type:     oneOf(n, "spec.auth.type", m.GetType(), "none", "api_key", "bearer", "basic", "authorization", "passthrough", "oauth2"),
		Secret:   m.GetValue().GetSecret(),
		Username: m.GetUsername(),
	}
	if a.Secret == "" && !slices.Contains([]string{"", "none", "passthrough"}, a.Type) {
		n.reject("spec.auth.value", "is missing; name the Secret that holds the credential")
	}
	switch a.Type {
	case "api_key":
		name := m.GetHeader()
		if name == "" {
			name = rules.APIKeyHeader
		}
		a.Header = upstreamHeader(n, "spec.auth.header", name)
	case "basic":
		if a.Username == "" || strings.ContainsFunc(a.Username, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
			n.reject("spec.auth.username", "is missing, or has a colon or a control character (RFC 7617 section 2)")
		}
	case "oauth2":
		a.Flow = oneOf(n, "spec.auth.flow", m.GetFlow(), "client_credentials", "token_exchange")
		if m.GetFlow() == "" {
			n.reject("spec.auth.flow", "is missing; write client_credentials or token_exchange")
		}
		a.Token = compileToken(m, target, n)
	}
	return a
}

// compileToken compiles the token endpoint. target is the server's own, nil where it has none.
func compileToken(m *configv1.Auth, target *Target, n *notes) *TokenEndpoint {
	e := &TokenEndpoint{
		URL:      m.GetTokenUrl(),
		ClientID: m.GetClientId(),
		Post:     oneOf(n, "spec.auth.client_auth", m.GetClientAuth(), "client_secret_basic", "client_secret_post") == "client_secret_post",
		Scopes:   m.GetScopes(),
		Resource: m.GetResource(),
		Audience: m.GetAudience(),
	}
	e.Target = safeTarget(n, "spec.auth.token_url", e.URL)
	if e.Target != nil {
		compileTLS("spec.auth.token_tls", m.GetTokenTls(), n).equip(e.Target)
	}
	if e.ClientID == "" {
		n.reject("spec.auth.client_id", "is missing; write the client id that the authorization server gave")
	}
	switch {
	case m.GetOmitResource():
		e.Resource = ""
	case e.Resource == "" && target != nil:
		path, _, _ := strings.Cut(target.Path, "?")
		e.Resource = target.Origin + path
	}
	return e
}

// safeTarget takes a URL apart over which credentials or keys travel: https, or http within this machine.
func safeTarget(n *notes, field, url string) *Target {
	t, problem := parseTarget(url)
	switch {
	case problem != "":
		n.reject(field, "%s", problem)
		return nil
	case t.Scheme != "https" && !netrange.Loopback(t.Host):
		n.reject(field, "is plain http to another machine; use https")
		return nil
	}
	return t
}

func compileSecret(obj confset.Object, n *notes) *Secret {
	m := new(configv1.Secret)
	if !decode(obj, m, n) {
		return nil
	}
	value := m.GetSpec().GetValue()
	switch {
	case value == "":
		n.reject("spec.value", "is empty; write the secret again with its value")
	case !visible(value):
		n.reject("spec.value", "has a character that is not visible ASCII, or a space around it; write the secret again")
	}
	return &Secret{Name: obj.Key.Name, Value: redact.NewSecret(value), Hash: obj.Hash}
}
