package admit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
)

// tell adds a violation once, whatever the number of places that have it.
func (t *overlaid) tell(here []*configv1.Overlay, field, problem, fix string) {
	if v := t.blame(here, field, problem, fix); !t.told[v] {
		t.told[v] = true
		t.found = append(t.found, v)
	}
}

// blame says which object of the change to mend: the most specific overlay that touches the field, else the target, else the overlay or the
// removal that brought it about.
func (t *overlaid) blame(here []*configv1.Overlay, field, problem, fix string) Violation {
	for _, o := range slices.Backward(here) {
		at, touches := touched(o, field)
		if p, comes := t.put(o); touches && comes {
			return violation(p, at, problem, fix)
		}
	}
	if i, ok := t.n.coming[t.key]; ok {
		return violation(t.n.c.Puts[i], field, problem, fix)
	}
	said := fmt.Sprintf("the %s %q: %s", t.key.Kind, t.key.Name, problem)
	if field != "" {
		said = fmt.Sprintf("%s of the %s %q %s", field, t.key.Kind, t.key.Name, problem)
	}
	for _, p := range t.n.c.Puts {
		if o, ok := p.Message.(*configv1.Overlay); ok && overlay.TargetOf(o.GetSpec()) == t.key {
			return violation(p, "", said, fix)
		}
		if was, ok := targetBefore(p); ok && was == t.key {
			return violation(p, "spec.target", said, fix)
		}
	}
	for _, d := range t.n.c.Deletes {
		if was, _ := overlay.Target(d.Current.Object.Body); was == t.key && d.Current.Object.Key.Kind == overlay.Kind {
			return Violation{Key: d.Current.Object.Key, Path: d.Path, Problem: "without it, " + said, Fix: fix}
		}
	}
	return Violation{Key: t.key, Field: field, Problem: problem, Fix: fix}
}

// targetBefore is what a stored overlay that is replaced changes so far.
func targetBefore(p Put) (confset.Key, bool) {
	if p.Current == nil || p.Object.Key.Kind != overlay.Kind {
		return confset.Key{}, false
	}
	return overlay.Target(p.Current.Object.Body)
}

// put returns the put of an overlay, if it is one of the change.
func (t *overlaid) put(o *configv1.Overlay) (Put, bool) {
	i, ok := t.n.coming[confset.Key{Kind: overlay.Kind, Name: o.GetName()}]
	if !ok {
		return Put{}, false
	}
	return t.n.c.Puts[i], true
}

// touched returns where an overlay sets or clears a field of its target, what is in it, or what it is in.
func touched(o *configv1.Overlay, field string) (string, bool) {
	for _, t := range slices.Backward(overlay.Touches(o.GetSpec())) {
		switch {
		case overlay.Within(field, t.Path) && !strings.HasPrefix(t.Field, "spec.clear["):
			return t.Field + field[len(t.Path):], true
		case overlay.Within(field, t.Path), overlay.Within(t.Path, field):
			return t.Field, true
		}
	}
	return "", false
}
