package rules

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

const (
	mostAudiences   = 64
	mostClients     = 1000
	mostClaimGrants = 256
	mostClaim       = 256
)

// IdentityProvider returns everything that is wrong with an issuer of tokens.
func IdentityProvider(p *configv1.IdentityProvider) Violations {
	var vs Violations
	vs.objectName("name", p.GetName(), "identity provider")
	vs.labels(p.GetLabels())
	spec := p.GetSpec()
	vs.issuer("spec.issuer", spec.GetIssuer())
	vs.audiences("spec.audiences", spec.GetAudiences())
	if u := spec.GetJwksUrl(); u != "" {
		vs.secureURL("spec.jwks_url", u, "https://login.example.com/keys")
	}
	vs.algorithms("spec.algorithms", spec.GetAlgorithms())
	vs.skew("spec.clock_skew", spec.GetClockSkew())
	vs.list("spec.allowed_clients", spec.GetAllowedClients(), mostClients, "clients", func(path, s string) string {
		before := len(vs)
		vs.exact(path, s, mostClaim, "write a client id")
		return vs.keyed(before, s)
	})
	vs.claim("spec.client_claim", spec.GetClientClaim())
	vs.claim("spec.user_claim", spec.GetUserClaim())
	vs.claimGrants("spec.grants", spec.GetGrants())
	vs.limits("spec.limits", spec.GetLimits())
	vs.trust("spec.tls", spec.GetTls())
	return vs
}

// secureURL checks a URL that credentials or keys travel over: https, or http on this machine.
func (vs *Violations) secureURL(field, raw, example string) {
	example = "write it like " + example
	if raw == "" {
		vs.add(field, "is missing", example)
		return
	}
	if p := checkURL(raw); p != nil {
		vs.add(field, p.problem, strings.Replace(p.fix, urlExample, example, 1))
		return
	}
	if u, err := url.Parse(raw); err == nil && u.Scheme == "http" && !netrange.Loopback(u.Host) {
		vs.add(field, "is http on another machine, where everybody on the way can read and change it", "write https")
	}
}

func (vs *Violations) issuer(field, raw string) {
	before := len(*vs)
	vs.secureURL(field, raw, "https://login.example.com")
	if len(*vs) == before && strings.Contains(raw, "?") {
		vs.add(field, "has a query", "remove it: an issuer is scheme, host and path (RFC 8414 section 2)")
	}
}

func (vs *Violations) audiences(field string, given []string) {
	if len(given) == 0 {
		vs.add(field, "is empty", "name what tokens for this gateway have as aud, like https://mcp.example.com/*")
	}
	vs.list(field, given, mostAudiences, "audiences", func(path, s string) string {
		before := len(*vs)
		vs.audience(path, s)
		return vs.keyed(before, s)
	})
}

func (vs *Violations) audience(field, s string) {
	const example = "write it like https://mcp.example.com/*"
	base, wild := strings.CutSuffix(s, "/*")
	_, authority, isURL := strings.Cut(base, "://")
	switch {
	case s == "*" || wild && (base == "" || isURL && authority == "" || strings.HasSuffix(base, "/") || strings.HasSuffix(base, ":")):
		vs.add(field, "matches tokens that are meant for others", example)
	case strings.Contains(base, "*"):
		vs.add(field, "has a * that is not behind the last slash", example)
	default:
		vs.exact(field, s, mostURL, example)
	}
}

func (vs *Violations) algorithms(field string, given []string) {
	vs.list(field, given, mostWords, "algorithms", func(path, a string) string {
		switch {
		case slices.Contains(Algorithms, a):
			return a
		case a == "":
			vs.add(path, "is empty", "write one like RS256")
		case strings.EqualFold(a, "none"):
			vs.add(path, quote(a)+" means no signature: everybody could write such a token", "remove it")
		case strings.HasPrefix(strings.ToUpper(a), "HS"):
			vs.add(path, quote(a)+" has one secret for signing and checking: whoever can check tokens could write them", "let the issuer sign with a key pair, like RS256 or ES256")
		default:
			vs.add(path, quote(a)+" is not known", algorithmFix(a))
		}
		return ""
	})
}

func algorithmFix(a string) string {
	if near := Nearest(a, Algorithms); near != "" {
		return "did you mean " + near + "?"
	}
	return "write " + alternatives(Algorithms)
}

func (vs *Violations) skew(field, s string) {
	d, err := Duration(s)
	switch {
	case err != nil:
		vs.add(field, quote(s)+" "+err.Error(), "write a number with its unit, for example 30s")
	case d < 0 || d > MostClockSkew:
		vs.add(field, quote(s)+" is out of bounds", "write a time from 0s to "+short(MostClockSkew))
	}
}

// claim checks the name of a claim, which may be left out.
func (vs *Violations) claim(field, name string) {
	if name == "" {
		return
	}
	vs.exact(field, name, mostClaim, "")
	if slices.Contains(strings.Split(name, "."), "") {
		vs.add(field, quote(name)+" has nothing beside a dot", "write names with single dots between them, like realm_access.roles")
	}
}

func (vs *Violations) claimGrants(field string, list []*configv1.ClaimGrant) {
	if len(list) > mostClaimGrants {
		vs.add(field, fmt.Sprintf("there are %d grants", len(list)), fmt.Sprintf("at most %d are possible", mostClaimGrants))
		return
	}
	for i, g := range list {
		at := element(field, i) + "."
		vs.claim(at+"claim", g.GetClaim())
		switch {
		case g.GetClaim() == "" && g.GetValue() != "":
			vs.add(at+"value", "is set, but there is no claim to compare", "name the claim, or remove value to match every token")
		case g.GetClaim() != "":
			vs.exact(at+"value", g.GetValue(), mostValue, `write the claim's exact value, or "*" for any`)
		}
		vs.opens(at, g)
		vs.roles(at+"roles", g.GetRoles(), claimRoles)
	}
}

// claimRoles are the roles that a token may give: those for the admin API stay with keys.
var claimRoles = []string{"debug"}
