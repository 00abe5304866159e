package table

import (
	"maps"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// Identity providers and ingresses are few, and one of them can stand in another's way. When one changes, all are looked at again; none is
// compiled again.

func (e *editor) putProvider(p *IdentityProvider) {
	own(&e.ownProviders, &e.next.providers)[p.Name] = p
}

func (e *editor) dropProvider(name string) {
	if _, ok := e.next.providers[name]; ok {
		delete(own(&e.ownProviders, &e.next.providers), name)
	}
}

// believe decides whose tokens are believed: of two providers with one issuer the first by name, and the other is rejected.
func (e *editor) believe() {
	if !e.ownProviders {
		return
	}
	e.next.issuers, e.next.believed = map[string]*IdentityProvider{}, nil
	for _, name := range slices.Sorted(maps.Keys(e.next.providers)) {
		p := e.next.providers[name]
		key := confset.Key{Kind: kindProvider, Name: name}
		if first, taken := e.next.issuers[p.Issuer]; taken {
			n := notes{key: key}
			n.reject(fieldIssuer, "is also that of identity provider %s, which is served; an issuer has one", first.Name)
			e.lose(&n)
			continue
		}
		e.next.issuers[p.Issuer] = p
		e.next.believed = append(e.next.believed, p)
		e.win(key, "is no longer that of another identity provider; served again")
	}
}

func (e *editor) putGateway(name string, g *gateway) { own(&e.ownGateways, &e.next.gateways)[name] = g }

func (e *editor) dropGateway(name string) {
	if _, ok := e.next.gateways[name]; ok {
		delete(own(&e.ownGateways, &e.next.gateways), name)
	}
}

// choose decides which ingress this region has.
func (e *editor) choose() {
	if !e.ownGateways {
		return
	}
	var named, others []*gateway
	for _, name := range slices.Sorted(maps.Keys(e.next.gateways)) {
		switch g := e.next.gateways[name]; {
		case g.names(e.next.cfg.Region):
			named = append(named, g)
		case len(g.regions) == 0:
			others = append(others, g)
		default:
			e.compete(name, "")
		}
	}
	e.next.ingress = noIngress
	for _, list := range [][]*gateway{others, named} {
		for i, g := range list {
			if i == 0 {
				e.next.ingress = g.ingress
				e.compete(g.ingress.Name, "")
				continue
			}
			e.compete(g.ingress.Name, "ingress "+list[0].ingress.Name+" is for the same region and comes first by name; name other regions in one of them")
		}
	}
}

const fieldRegions = "spec.regions"

// compete replaces what is said about an ingress in whose way another stands; empty: none does.
func (e *editor) compete(name, text string) {
	key := confset.Key{Kind: kindIngress, Name: name}
	old, _ := e.notes.get(key)
	outs := slices.DeleteFunc(slices.Clone(old), func(o Outcome) bool { return o.Field == fieldRegions && !o.Rejected })
	cleared := len(outs) < len(old)
	if text != "" {
		outs = append(outs, Outcome{Key: key, Field: fieldRegions, Text: text})
	}
	if slices.Equal(old, outs) {
		return
	}
	e.note(key, outs)
	if cleared && text == "" {
		e.cleared = append(e.cleared, Outcome{Key: key, Field: fieldRegions, Text: "no other ingress is in its way any more"})
	}
}
