package table

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func compileProvider(obj confset.Object, n *notes) *IdentityProvider {
	m := new(configv1.IdentityProvider)
	if !decode(obj, m, n) {
		return nil
	}
	spec := m.GetSpec()
	p := &IdentityProvider{
		Name:       obj.Key.Name,
		UID:        obj.UID,
		Issuer:     spec.GetIssuer(),
		Audiences:  spec.GetAudiences(),
		JWKS:       spec.GetJwksUrl(),
		Algorithms: algorithms(spec.GetAlgorithms(), n),
		Skew:       skew(spec.GetClockSkew(), n),
		Clients:    setOf(spec.GetAllowedClients()),
		ClientOf:   claims(spec.GetClientClaim(), rules.ClientClaims),
		UserOf:     claims(spec.GetUserClaim(), rules.UserClaims),
	}
	safeTarget(n, fieldIssuer, p.Issuer)
	if p.JWKS != "" {
		safeTarget(n, "spec.jwks_url", p.JWKS)
	}
	if len(p.Audiences) == 0 || slices.Contains(p.Audiences, "") {
		n.reject("spec.audiences", "is empty or has an empty entry; name at least one audience")
	}
	if l := compileLimit("spec.limits", spec.GetLimits(), n); l != nil {
		p.Rate, p.InFlight = l.Rate, l.Concurrency
	}
	if spec.GetTls() != nil {
		p.TLS = compileTLS("spec.tls", spec.GetTls(), n).config()
	}
	p.grant(spec.GetGrants(), n)
	return p
}

const fieldIssuer = "spec.issuer"

func algorithms(list []string, n *notes) []string {
	for i, a := range list {
		if !slices.Contains(rules.Algorithms, a) {
			n.reject(fmt.Sprintf("spec.algorithms[%d]", i), "%.40q is not known to this version; use one of: %s", a, strings.Join(rules.Algorithms, ", "))
		}
	}
	if len(list) == 0 {
		return rules.DefaultAlgorithms
	}
	return list
}

func skew(text string, n *notes) time.Duration {
	if text == "" {
		return rules.ClockSkew
	}
	v, err := rules.Duration(text)
	if err != nil || v < 0 || v > rules.MostClockSkew {
		n.reject("spec.clock_skew", "%.40q is not a time from 0s to %v; write it like 30s", text, rules.MostClockSkew)
	}
	return v
}

func claims(own string, otherwise []string) []string {
	if own == "" {
		return otherwise
	}
	return []string{own}
}

func (p *IdentityProvider) grant(list []*configv1.ClaimGrant, n *notes) {
	for i, m := range list {
		at := fmt.Sprintf("spec.grants[%d].", i)
		g := &Grant{Team: m.GetTeam(), Of: "every token of the identity provider " + p.Name}
		g.fill(at, m, n)
		c := ClaimGrant{Value: m.GetValue(), Grant: g, Debug: debug(m.GetRoles(), at+"roles", n)}
		switch {
		case m.GetClaim() != "":
			c.Claim = strings.Split(m.GetClaim(), ".")
			g.Of = m.GetClaim() + " = " + m.GetValue() + " of the identity provider " + p.Name
			if c.Value == "" || slices.Contains(c.Claim, "") {
				n.reject(at+"claim", `has an empty part, or value is missing; write a claim and its value, "*" for any`)
			}
		case c.Value != "":
			n.reject(at+"value", "is set without claim; name the claim, or remove value to match every token")
		}
		p.Grants = append(p.Grants, c)
	}
}

// debug gives the one right that tokens can give.
func debug(roles []string, field string, n *notes) (given bool) {
	for _, role := range roles {
		if role == "debug" {
			given = true
			continue
		}
		n.reject(field, "role %.40q is not one that tokens can give; use debug", role)
	}
	return given
}

// config returns TLS settings for what has several hosts: each connection verifies its own, unless a name is configured.
func (v verification) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: v.roots, ServerName: v.serverName}
}
