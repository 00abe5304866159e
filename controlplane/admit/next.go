package admit

import (
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
)

// kindServer is the kind whose names are paths of the gateway.
const kindServer = "server"

// next is the config as it would be after a change: what is stored, without what the change removes or replaces, and with what it brings.
type next struct {
	gate *Gate
	c    Change

	links   []links.Links         // of the puts, in their order
	coming  map[confset.Key]int   // index of the put
	touched map[confset.Key]bool  // put or deleted: what is stored of it doesn't count
	refs    map[confset.Key][]int // puts that refer to an object
}

func (g *Gate) next(c Change) *next {
	n := &next{gate: g, c: c, links: make([]links.Links, len(c.Puts)), coming: make(map[confset.Key]int, len(c.Puts)),
		touched: make(map[confset.Key]bool, len(c.Puts)+len(c.Deletes)), refs: map[confset.Key][]int{}}
	for i, p := range c.Puts {
		n.links[i] = links.Of(p.Message)
		n.coming[p.Object.Key], n.touched[p.Object.Key] = i, true
		for _, r := range n.links[i].Refs {
			n.refs[r.To] = append(n.refs[r.To], i)
		}
	}
	for _, d := range c.Deletes {
		n.touched[d.Current.Object.Key] = true
	}
	return n
}

// has says whether there would be an object.
func (n *next) has(key confset.Key) bool {
	if n.touched[key] {
		_, ok := n.coming[key]
		return ok
	}
	return n.gate.cfg.Set.Has(key)
}

// staying returns the stored objects that refer to one and that the change leaves as they are.
func (n *next) staying(to confset.Key) []confset.Key {
	return slices.DeleteFunc(n.gate.cfg.Set.Referrers(to), func(key confset.Key) bool { return n.touched[key] })
}

// names finds objects whose name another kind of the same namespace, or an access group, would have too.
func (n *next) names() (out Violations) {
	for i, p := range n.c.Puts {
		kind, name := p.Object.Key.Kind, p.Object.Key.Name
		space := n.gate.namespace(kind)
		for _, other := range space {
			rival, comes := n.coming[confset.Key{Kind: other, Name: name}]
			if other != kind && n.has(confset.Key{Kind: other, Name: name}) && (!comes || rival < i) { // of two that come, the second is told
				out = append(out, violation(p, "name", fmt.Sprintf("is taken by the %s of that name", other), "choose another name"))
			}
		}
		if len(space) > 0 {
			out = append(out, n.groupName(p)...)
		}
		out = append(out, n.groups(i)...)
	}
	return out
}

// groupName finds a name that is an access group of a stored server; servers of the change are told at the group.
func (n *next) groupName(p Put) Violations {
	in := n.staying(confset.Key{Kind: links.KindGroup, Name: p.Object.Key.Name})
	if len(in) == 0 {
		return nil
	}
	return Violations{violation(p, "name", fmt.Sprintf("is taken by the access group of that name, to which %s", belong(in)), "choose another name")}
}

// groups finds access groups of a put that have the name of a server or toolset.
func (n *next) groups(i int) (out Violations) {
	own := n.c.Puts[i].Object.Key
	if o, ok := n.c.Puts[i].Message.(*configv1.Overlay); ok {
		own = overlay.TargetOf(o.GetSpec())
	}
	for _, r := range n.links[i].Refs {
		if r.To.Kind != links.KindGroup || r.To.Name == own.Name { // its own name is against the rules
			continue
		}
		space := n.gate.namespace(own.Kind)
		at := slices.IndexFunc(space, func(kind string) bool { return n.has(confset.Key{Kind: kind, Name: r.To.Name}) })
		if at >= 0 {
			out = append(out, violation(n.c.Puts[i], r.Field(), fmt.Sprintf("is the name of a %s", space[at]), "choose another name for the group"))
		}
	}
	return out
}

// namespace is the kinds that share names with a kind, itself included; none when its names stand alone.
func (g *Gate) namespace(kind string) []string {
	for _, space := range g.cfg.Namespaces {
		if slices.Contains(space, kind) {
			return space
		}
	}
	return nil
}

// claims finds what two objects would have though it is one's alone, as a caller must be one principal.
func (n *next) claims() (out Violations) {
	coming := map[links.Claim]string{}
	for i, p := range n.c.Puts {
		kind, name := p.Object.Key.Kind, p.Object.Key.Name
		for _, h := range n.links[i].Claims {
			holder, taken := coming[h.Claim]
			if !taken {
				holder, taken = n.gate.cfg.Set.Holder(h.Claim)
				taken = taken && !n.touched[confset.Key{Kind: kind, Name: holder}]
			}
			if taken && holder != name {
				problem, fix := claimed(h.Claim, holder)
				out = append(out, violation(p, h.Field(), problem, fix))
				continue
			}
			coming[h.Claim] = name
		}
	}
	return out
}

// claimed says that a claim has a holder already.
func claimed(c links.Claim, holder string) (problem, fix string) {
	switch {
	case c.Space == links.Hash:
		return fmt.Sprintf("is the hash of the API key %q already", holder), "make a new key"
	case c.Space == links.Certificate:
		return fmt.Sprintf("is the certificate name of the API key %q already", holder), "a certificate admits as one key; change that one or choose another name"
	case c.Space == links.Issuer:
		return fmt.Sprintf("is the issuer of the identity provider %q already", holder), "an issuer has one; change that one"
	case c.Region() == "":
		return fmt.Sprintf("is empty, and the ingress %q is for all other regions already", holder), "name the regions of this one, or change that one"
	}
	return fmt.Sprintf("has the ingress %q already", holder), "a region and listener has one; change that one"
}
