package rules

import (
	"net/netip"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

const (
	mostRanges  = 256
	mostOrigins = 256
)

// Ingress returns everything that is wrong with what stands in front of a region's data planes.
func Ingress(i *configv1.Ingress) Violations {
	var vs Violations
	vs.objectName("name", i.GetName(), "ingress")
	vs.labels(i.GetLabels())
	spec := i.GetSpec()
	vs.list("spec.regions", spec.GetRegions(), mostRegions, "regions", func(path, r string) string {
		before := len(vs)
		vs.region(path, r)
		return vs.keyed(before, r)
	})
	vs.word("spec.listener", spec.GetListener(), "main")
	vs.ranges("spec.trusted_proxies", spec.GetTrustedProxies(), tooWide)
	vs.list("spec.forwarded_headers", spec.GetForwardedHeaders(), mostWords, "headers", vs.forwardedHeader)
	vs.origins("spec.public_origins", spec.GetPublicOrigins(), mostOrigins)
	vs.ranges("spec.internal_ranges", spec.GetInternalRanges(), nil)
	vs.redirects(spec)
	vs.origins("spec.cors_origins", spec.GetCorsOrigins(), mostOrigins)
	return vs
}

func (vs *Violations) forwardedHeader(path, name string) string {
	before := len(*vs)
	if name == "" {
		vs.add(path, "is empty", suggest("", ForwardedHeaders))
	}
	vs.word(path, name, ForwardedHeaders...)
	return vs.keyed(before, name)
}

// tooWide refuses ranges that no set of proxies fills: with one of these, every caller would pass for a proxy and be believed. No block
// larger than an IPv4 /8 was ever assigned, and fc00::/7 is the widest that is private in IPv6 (RFC 4193).
func tooWide(p netip.Prefix) *urlProblem {
	least := 7
	if p.Addr().Is4() {
		least = 8
	}
	if p.Bits() < least {
		return &urlProblem{"holds addresses of everybody, so that any caller would be believed like a proxy", "name the ranges of your proxies alone"}
	}
	return nil
}

// ranges checks addresses and ranges; refuse says what else is wrong with one, and may be nil.
func (vs *Violations) ranges(field string, given []string, refuse func(netip.Prefix) *urlProblem) {
	vs.list(field, given, mostRanges, "ranges", func(path, s string) string {
		p, err := netrange.Parse(s)
		if err != nil {
			vs.add(path, quote(s)+" "+err.Error(), "write addresses, without names, ports and zones")
			return ""
		}
		if refuse != nil {
			if bad := refuse(p); bad != nil {
				vs.add(path, quote(s)+" "+bad.problem, bad.fix)
				return ""
			}
		}
		return p.String()
	})
}

// origins never quotes an origin that is wrong: it may be a URL with a secret.
func (vs *Violations) origins(field string, given []string, most int) {
	vs.list(field, given, most, "origins", func(path, s string) string {
		if s == "*" || strings.Contains(s, "://*") || s == "null" {
			vs.add(path, quoteWild(s)+" stands for sites that nobody has named", "name each origin, like https://app.example.com")
			return ""
		}
		origin, p := readOrigin(s)
		if p != nil {
			vs.add(path, p.problem, p.fix)
		}
		return origin
	})
}

// quoteWild quotes * and null, and describes what only contains a *.
func quoteWild(s string) string {
	if s == "*" || s == "null" {
		return quote(s)
	}
	return "a wildcard"
}

func (vs *Violations) redirects(spec *configv1.IngressSpec) {
	vs.list("spec.trusted_redirect_origins", spec.GetTrustedRedirectOrigins(), mostOrigins, "origins", func(path, s string) string {
		if p := checkRedirectOrigin(s); p != nil {
			vs.add(path, p.problem, p.fix)
			return ""
		}
		return strings.ToLower(s)
	})
	vs.list("spec.trusted_native_redirect_uris", spec.GetTrustedNativeRedirectUris(), mostOrigins, "callbacks", func(path, s string) string {
		if p := checkNativeURI(s); p != nil {
			vs.add(path, p.problem, p.fix)
			return ""
		}
		return s
	})
}
