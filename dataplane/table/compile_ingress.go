package table

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/rules"
)

// gateway is an ingress and the regions it is for.
type gateway struct {
	ingress *Ingress
	regions []string // empty: each that no other names
	unknown bool     // the object couldn't be read at all: it may be for any region
}

// names reports whether a gateway is for a region by name.
func (g *gateway) names(region string) bool { return g.unknown || slices.Contains(g.regions, region) }

// internalRanges are those of an ingress that names none, and of a region without an ingress.
var internalRanges, _ = netrange.NewSet(rules.InternalRanges)

// noIngress is what a region without an ingress has.
var noIngress = &Ingress{Internal: internalRanges}

// closedGateway is what a rejected ingress leaves in place for its regions.
func closedGateway(obj confset.Object) *gateway {
	m := new(configv1.Ingress)
	err := proto.Unmarshal(obj.Body, m)
	return &gateway{ingress: &Ingress{Name: obj.Key.Name, Closed: true}, regions: m.GetSpec().GetRegions(), unknown: err != nil}
}

func compileIngress(obj confset.Object, n *notes) *gateway {
	m := new(configv1.Ingress)
	if !decode(obj, m, n) {
		return nil
	}
	spec := m.GetSpec()
	oneOf(n, "spec.listener", spec.GetListener(), "main")
	ing := &Ingress{
		Name:            obj.Key.Name,
		Proxies:         ranges(n, "spec.trusted_proxies", spec.GetTrustedProxies()),
		Forwarded:       spec.GetUseForwardedHeaders(),
		Public:          origins(n, "spec.public_origins", spec.GetPublicOrigins()),
		Internal:        internalRanges,
		RedirectOrigins: lower(checked(n, "spec.trusted_redirect_origins", spec.GetTrustedRedirectOrigins(), rules.RedirectOrigin)),
		NativeURIs:      checked(n, "spec.trusted_native_redirect_uris", spec.GetTrustedNativeRedirectUris(), rules.NativeURI),
		CORS:            origins(n, "spec.cors_origins", spec.GetCorsOrigins()),
	}
	if len(spec.GetInternalRanges()) > 0 {
		ing.Internal = ranges(n, "spec.internal_ranges", spec.GetInternalRanges())
	}
	ing.read(spec.GetForwardedHeaders(), n)
	if ing.Forwarded && ing.Proxies.Empty() {
		n.warn("spec.use_forwarded_headers", "headers are ignored until trusted_proxies names your proxies")
	}
	return &gateway{ingress: ing, regions: spec.GetRegions()}
}

// read sets which headers are read.
func (ing *Ingress) read(list []string, n *notes) {
	if len(list) == 0 {
		list = rules.DefaultForwardedHeaders
	}
	for i, h := range list {
		switch h {
		case "x-forwarded-for":
			ing.For = true
		case "x-forwarded-proto":
			ing.Proto = true
		case "x-forwarded-host":
			ing.Host = true
		case "x-forwarded-port":
			ing.Port = true
		case "forwarded":
			ing.RFC = true
		default:
			n.reject(fmt.Sprintf("spec.forwarded_headers[%d]", i), "%.40q is not known to this version; use one of: %s", h, strings.Join(rules.ForwardedHeaders, ", "))
		}
	}
}

func origins(n *notes, field string, list []string) (out []string) {
	for i, s := range list {
		o, err := rules.Origin(s)
		if err != nil {
			n.reject(fmt.Sprintf("%s[%d]", field, i), "%v", err)
			continue
		}
		out = append(out, o)
	}
	return out
}

func checked(n *notes, field string, list []string, check func(string) error) []string {
	for i, s := range list {
		if err := check(s); err != nil {
			n.reject(fmt.Sprintf("%s[%d]", field, i), "%v", err)
		}
	}
	return list
}

func lower(list []string) (out []string) {
	for _, s := range list {
		out = append(out, strings.ToLower(s))
	}
	return out
}
