package admit

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

// mostOverlays of one object keep the number of places at which it is checked bounded.
const mostOverlays = 64

// Overlays returns the stored overlays of an object in the order of their names.
func (g *Gate) Overlays(target confset.Key) []*configv1.Overlay {
	return g.read(g.cfg.Set.Referrers(target))
}

// read returns those of some stored objects that are overlays, in the order of their names.
func (g *Gate) read(keys []confset.Key) (out []*configv1.Overlay) {
	slices.SortFunc(keys, confset.Key.Compare)
	for _, key := range keys {
		if key.Kind != overlay.Kind {
			continue
		}
		h, ok := g.cfg.Set.Get(key.Kind, key.Name)
		o := new(configv1.Overlay)
		if ok && proto.Unmarshal(h.Object.Body, o) == nil {
			out = append(out, o)
		}
	}
	return out
}

// overlaid is an object that would have overlays.
type overlaid struct {
	n    *next
	key  confset.Key
	uid  string
	base proto.Message
	of   []*configv1.Overlay

	found Violations
	told  map[Violation]bool
}

// overlays checks what data planes would make of the objects that the change concerns together with their overlays. Objects with something
// wrong already are left out.
func (n *next) overlays(wrong Violations) (out Violations) {
	for _, target := range n.targets() {
		t, ok := n.overlaid(target)
		if !ok || t.amiss(wrong) {
			continue
		}
		if t.disputes(); len(t.found) == 0 {
			t.places()
		}
		out = append(out, t.found...)
	}
	return out
}

// targets are the objects whose overlays may make something else of them after the change, in the order of the request.
func (n *next) targets() (out []confset.Key) {
	see := func(key confset.Key) {
		if slices.Contains(overlay.Targets(), key.Kind) && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	was := func(o confset.Object) {
		if key, ok := overlay.Target(o.Body); ok && o.Key.Kind == overlay.Kind {
			see(key)
		}
	}
	for _, p := range n.c.Puts {
		if o, ok := p.Message.(*configv1.Overlay); ok {
			see(overlay.TargetOf(o.GetSpec()))
		}
		see(p.Object.Key)
		if p.Current != nil {
			was(p.Current.Object) // it may have had another target
		}
	}
	for _, d := range n.c.Deletes {
		was(d.Current.Object)
	}
	return out
}

// overlaid gathers an object and its overlays as they would be; false when there is no object or no overlay.
func (n *next) overlaid(key confset.Key) (*overlaid, bool) {
	t := &overlaid{n: n, key: key, told: map[Violation]bool{}, of: n.gate.read(n.staying(key))}
	for _, i := range n.refs[key] {
		if o, ok := n.c.Puts[i].Message.(*configv1.Overlay); ok {
			t.of = append(t.of, o)
		}
	}
	if len(t.of) == 0 || !n.has(key) {
		return nil, false
	}
	if i, ok := n.coming[key]; ok {
		t.base, t.uid = n.c.Puts[i].Message, n.c.Puts[i].Object.UID
		return t, true
	}
	h, ok := n.gate.cfg.Set.Get(key.Kind, key.Name)
	t.base, t.uid = rules.New(key.Kind), h.Object.UID
	return t, ok && proto.Unmarshal(h.Object.Body, t.base) == nil
}

// amiss says whether something is wrong with a part already.
func (t *overlaid) amiss(wrong Violations) bool {
	return slices.ContainsFunc(wrong, func(v Violation) bool {
		return v.Key == t.key || v.Key.Kind == overlay.Kind && slices.ContainsFunc(t.of, func(o *configv1.Overlay) bool { return o.GetName() == v.Key.Name })
	})
}

// disputes finds overlays for the same data planes that change the same field, and too many of them.
func (t *overlaid) disputes() {
	if n := len(t.of); n > mostOverlays {
		t.found = append(t.found, t.blame(nil, "", fmt.Sprintf("would have %d overlays", n), fmt.Sprintf("at most %d are possible", mostOverlays)))
		return
	}
	for i, a := range t.of {
		p, comes := t.put(a)
		if !comes {
			continue
		}
		for j, b := range t.of {
			if _, too := t.put(b); i == j || too && i < j { // of two that come, the second is told
				continue
			}
			for _, c := range overlay.Clashes(a.GetSpec(), b.GetSpec()) {
				t.found = append(t.found, violation(p, c.Field, fmt.Sprintf("is changed by the overlay %q for %s, too", b.GetName(), overlay.Where(b.GetSpec())),
					"change it in one of them, or name a region and a group"))
			}
		}
	}
}

// places checks the merged object at each place that its overlays distinguish.
func (t *overlaid) places() {
	seen := map[string]bool{}
	for _, p := range t.distinct() {
		here := overlay.At(p, t.of)
		id := ""
		for _, o := range here {
			id += o.GetName() + "/"
		}
		if len(here) > 0 && !seen[id] {
			t.place(p, here)
		}
		seen[id] = true
	}
}

// distinct are the places at which different overlays apply.
func (t *overlaid) distinct() (out []overlay.Place) {
	regions, groups := map[string]bool{"": true}, map[string]bool{"": true}
	for _, o := range t.of {
		regions[o.GetSpec().GetRegion()], groups[o.GetSpec().GetGroup()] = true, true
	}
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			out = append(out, overlay.Place{Region: region, Group: group})
		}
	}
	return out
}

// place checks the merged object at one of them.
func (t *overlaid) place(p overlay.Place, here []*configv1.Overlay) {
	merged := overlay.Merge(t.base, here)
	where := " for data planes of " + overlay.Where(&configv1.OverlaySpec{Region: p.Region, Group: p.Group})
	bad := rules.Check(t.key.Kind, merged)
	for _, v := range bad {
		t.tell(here, v.Field, v.Problem+where, v.Fix)
	}
	if t.lent(here) {
		t.tell(here, "spec.auth.type", "would send the credential of another type"+where, "set auth.value beside the type, or name spec.auth in spec.clear")
	}
	if len(bad) > 0 || t.n.gate.cfg.Compile == nil {
		return
	}
	body, err := rules.Body(merged)
	if err != nil {
		t.tell(here, "", "can't be encoded"+where, "")
		return
	}
	for _, b := range t.n.gate.cfg.Compile(confset.NewObject(t.key, t.uid, body)) {
		t.tell(here, b.Field, b.Text+where, "")
	}
}

// lent says whether one of the overlays makes a server send a credential in another way than the one it was given for: it changes the type, and
// neither it nor one after it says which credential that is.
func (t *overlaid) lent(here []*configv1.Overlay) (lent bool) {
	base, ok := t.base.(*configv1.Server)
	if !ok {
		return false
	}
	was := base.GetSpec().GetAuth()
	for i, o := range here {
		is := overlay.Merge(base, here[:i+1]).(*configv1.Server).GetSpec().GetAuth()
		switch own := o.GetSpec().GetServer().GetAuth().GetValue(); {
		case own != nil || is.GetValue() == nil:
			lent = false
		case is.GetType() != was.GetType():
			lent = true
		}
		was = is
	}
	return lent
}
