package rules

import (
	"net/url"
	"slices"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostUsername = 256
	mostClientID = 512
	mostScopes   = 64
	mostScope    = 256
)

// authTypes are the words of Auth.type; empty is none.
var authTypes = []string{"none", "api_key", "bearer", "basic", "authorization", "passthrough", "oauth2"}

// authField is a field of Auth, whether it is set, and the types that have it.
type authField struct {
	name  string
	set   bool
	types string
}

func authFields(a *configv1.Auth) []authField {
	return []authField{
		{"value", a.GetValue() != nil, "api_key bearer basic authorization oauth2"},
		{"header", a.GetHeader() != "", "api_key"},
		{"username", a.GetUsername() != "", "basic"},
		{"flow", a.GetFlow() != "", "oauth2"},
		{"token_url", a.GetTokenUrl() != "", "oauth2"},
		{"client_id", a.GetClientId() != "", "oauth2"},
		{"client_auth", a.GetClientAuth() != "", "oauth2"},
		{"scopes", len(a.GetScopes()) > 0, "oauth2"},
		{"resource", a.GetResource() != "", "oauth2"},
		{"audience", a.GetAudience() != "", "oauth2"},
		{"token_tls", a.GetTokenTls() != nil, "oauth2"},
		{"omit_resource", a.GetOmitResource(), "oauth2"},
	}
}

// auth checks the credential of a server; path ends in a dot.
func (vs *Violations) auth(path string, a *configv1.Auth) {
	kind := a.GetType()
	vs.word(path+"type", kind, authTypes...)
	if kind == "" {
		kind = "none"
	}
	if !slices.Contains(authTypes, kind) {
		return // which fields belong to it is anybody's guess
	}
	for _, f := range authFields(a) {
		if types := strings.Fields(f.types); f.set && !slices.Contains(types, kind) {
			vs.add(path+f.name, "doesn't belong to type "+kind, "remove it, or write type "+alternatives(types))
		}
	}
	if slices.Contains(strings.Fields(authFields(a)[0].types), kind) {
		vs.secretValueOf(path+"value", a.GetValue())
	}
	switch kind {
	case "api_key":
		if name := a.GetHeader(); name != "" {
			vs.headerName(path+"header", name, "write type authorization")
		}
	case "basic":
		vs.username(path+"username", a.GetUsername())
	case "oauth2":
		vs.oauth2(path, a)
	}
}

// secretValueOf checks the reference to a Secret.
func (vs *Violations) secretValueOf(field string, v *configv1.Value) {
	if v.GetSecret() == "" {
		vs.add(field, "is missing", "name a Secret, like {secret: github-token}")
		return
	}
	vs.objectName(field+".secret", v.GetSecret(), "secret")
}

func (vs *Violations) username(field, name string) {
	if strings.Contains(name, ":") {
		vs.add(field, "has a colon, which ends the user's name (RFC 7617 section 2)", "write just the name; the password is value")
		return
	}
	vs.exact(field, name, mostUsername, "write the user's name")
}

func (vs *Violations) oauth2(path string, a *configv1.Auth) {
	if a.GetFlow() == "" {
		vs.add(path+"flow", "is missing", "write client_credentials or token_exchange")
	}
	vs.word(path+"flow", a.GetFlow(), "client_credentials", "token_exchange")
	vs.secureURL(path+"token_url", a.GetTokenUrl(), "https://login.example.com/token")
	vs.exact(path+"client_id", a.GetClientId(), mostClientID, "write the client id that the authorization server knows")
	vs.word(path+"client_auth", a.GetClientAuth(), "client_secret_basic", "client_secret_post")
	vs.list(path+"scopes", a.GetScopes(), mostScopes, "scopes", vs.scope)
	vs.resource(path, a)
	if a.GetAudience() != "" {
		if a.GetFlow() == "client_credentials" {
			vs.add(path+"audience", "doesn't belong to flow client_credentials", "remove it; resource says what the token is for")
		}
		vs.exact(path+"audience", a.GetAudience(), mostURL, "")
	}
	if scheme, _, _ := strings.Cut(a.GetTokenUrl(), ":"); a.GetTokenTls() != nil && strings.EqualFold(scheme, "http") {
		vs.add(path+"token_tls", "is set, but token_url is http, which has no certificate to verify", "use https there, or remove token_tls")
	}
	vs.trust(path+"token_tls", a.GetTokenTls())
}

// scope checks one scope (RFC 6749 section 3.3).
func (vs *Violations) scope(field, s string) string {
	before := len(*vs)
	switch {
	case s == "":
		vs.add(field, "is empty", "write a scope, or remove the entry")
	case len(s) > mostScope:
		vs.add(field, "is too long", "at most 256 bytes are possible")
	case strings.Contains(s, " "):
		vs.add(field, "has a space", "write each scope as an entry of its own")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }):
		vs.add(field, "has a character that a scope cannot have", "write visible ASCII without quotes and backslashes")
	}
	return vs.keyed(before, s)
}

// resource checks an absolute URI without fragment (RFC 8707 section 2); it isn't quoted, like URLs.
func (vs *Violations) resource(path string, a *configv1.Auth) {
	raw, field := a.GetResource(), path+"resource"
	if raw == "" {
		return
	}
	if a.GetOmitResource() {
		vs.add(field, "is set beside omit_resource", "remove one of the two")
	}
	u, err := url.Parse(raw)
	switch {
	case len(raw) > mostURL:
		vs.add(field, "is too long", "at most 2048 bytes are possible")
	case err != nil || !u.IsAbs() || strings.ContainsFunc(raw, func(r rune) bool { return !urlRune(r) }):
		vs.add(field, "is not an absolute URI", urlExample)
	case strings.Contains(raw, "#"):
		vs.add(field, "has a fragment", "remove # and what follows")
	case u.User != nil:
		vs.add(field, "has a user name or password in it", "remove everything between // and @")
	}
}
