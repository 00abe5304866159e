package table

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

// laid is an overlay, and why this version can't lay it over anything.
type laid struct {
	*configv1.Overlay
	problem string    // empty: it can
	outs    []Outcome // what stands against it alone
}

func (l *laid) key() confset.Key { return confset.Key{Kind: kindOverlay, Name: l.GetName()} }

// readOverlay reads an overlay. One that can't be read still stands in the way of what it names.
func readOverlay(obj confset.Object, n *notes) *laid {
	m := new(configv1.Overlay)
	err := proto.Unmarshal(obj.Body, m)
	if err == nil && m.GetName() == obj.Key.Name {
		return &laid{Overlay: m, problem: overlay.Problem(m)}
	}
	n.warn("", "is not a valid overlay of this name; what it is for is refused until it is written again")
	return unread(obj)
}

// unread is what is left of an overlay that can't be read: what it is for.
func unread(obj confset.Object) *laid {
	key, _ := overlay.Target(obj.Body)
	return &laid{Overlay: &configv1.Overlay{Name: obj.Key.Name, Spec: &configv1.OverlaySpec{Kind: key.Kind, Target: key.Name}}, problem: "can't be read"}
}

// concerns says whether an overlay is for the data planes of a place, or may be: a field that this version doesn't know may say where.
func (l *laid) concerns(p overlay.Place) bool {
	s := l.GetSpec()
	return overlay.Matches(s, p) || l.problem != "" && s.GetRegion() == "" && s.GetGroup() == ""
}

// lay returns an object with overlays over it, or rejects it. The hash is that of the whole.
func (n *notes) lay(obj confset.Object, over []*laid) confset.Object {
	if len(over) == 0 {
		return obj
	}
	overlays := make([]*configv1.Overlay, len(over))
	for i, l := range over {
		overlays[i] = l.Overlay
		if l.problem != "" {
			n.reject("", "the overlay %s %s; upgrade the data plane or change the overlay", l.GetName(), l.problem)
		}
	}
	m := rules.New(obj.Key.Kind)
	if n.rejected || proto.Unmarshal(obj.Body, m) != nil {
		return obj // compiling it says why
	}
	body, err := rules.Body(overlay.Merge(m, overlays))
	if err != nil {
		n.reject("", "can't be put together with its overlays; write them again")
		return obj
	}
	return confset.NewObject(obj.Key, obj.UID, body)
}

// with names the overlays in what stands against an object.
func (n *notes) with(over []*laid) []Outcome {
	if len(over) == 0 || len(n.outs) == 0 {
		return n.outs
	}
	names := make([]string, len(over))
	for i, l := range over {
		names[i] = l.GetName()
	}
	for i := range n.outs {
		n.outs[i].Text += " (with overlay " + strings.Join(names, ", ") + ")"
	}
	return n.outs
}

// of returns the overlays of an object.
func (s site) of(key confset.Key) []*laid {
	if len(s.overlays) == 0 {
		return nil
	}
	return s.overlays[key]
}

func (e *editor) site() site { return site{e.next.cfg.Region, e.next.overlays} }

// overlay takes in the overlays of a delta and returns what is to be compiled: its other objects and, from the index again on, objects whose
// overlays changed.
func (e *editor) overlay(d confset.Delta) (objs []confset.Object, again int) {
	objs = d.Upserts
	if slices.ContainsFunc(objs, func(o confset.Object) bool { return o.Key.Kind == kindOverlay }) {
		objs = e.putOverlays(objs)
	}
	for _, o := range objs {
		if overlaid(o.Key.Kind) {
			begin(&e.bases, &e.next.bases).set(o.Key, o)
			delete(e.moved, o.Key) // compiled anyway
		}
	}
	again = len(objs)
	if len(e.moved) == 0 {
		return objs, again
	}
	objs = slices.Clip(objs)
	for _, key := range slices.SortedFunc(maps.Keys(e.moved), confset.Key.Compare) {
		if base, there := begin(&e.bases, &e.next.bases).get(key); there {
			objs = append(objs, base)
		}
	}
	return objs, again
}

// overlaid says whether overlays can change objects of a kind.
func overlaid(kind string) bool {
	switch kind {
	case kindServer, kindToolset, kindIngress, kindSettings:
		return true
	}
	return false
}

// putOverlays takes in the overlays among objects and returns the others.
func (e *editor) putOverlays(objs []confset.Object) []confset.Object {
	rest := make([]confset.Object, 0, len(objs))
	here := overlay.Place{Region: e.next.cfg.Region, Group: e.next.cfg.Group}
	for _, o := range objs {
		if o.Key.Kind != kindOverlay {
			rest = append(rest, o)
			continue
		}
		r := compile(o, "", nil)
		e.note(o.Key, r.outs)
		e.dropOverlay(o.Key.Name)
		if l, ok := r.value.(*laid); ok && l.concerns(here) {
			l.outs = r.outs
			e.putOverlay(l)
		}
	}
	return rest
}

func (e *editor) putOverlay(l *laid) {
	key := overlay.TargetOf(l.GetSpec())
	own(&e.ownTargets, &e.next.targets)[l.GetName()] = key
	e.layOver(key, append(slices.Clone(e.next.overlays[key]), l))
}

func (e *editor) dropOverlay(name string) {
	key, there := e.next.targets[name]
	if !there {
		return
	}
	delete(own(&e.ownTargets, &e.next.targets), name)
	e.layOver(key, slices.DeleteFunc(slices.Clone(e.next.overlays[key]), func(l *laid) bool { return l.GetName() == name }))
}

// layOver sets the overlays of an object, which is to be compiled again.
func (e *editor) layOver(key confset.Key, overlays []*laid) {
	slices.SortFunc(overlays, func(a, b *laid) int { return overlay.Compare(a.Overlay, b.Overlay) })
	all := own(&e.ownOverlays, &e.next.overlays)
	if all[key] = overlays; len(overlays) == 0 {
		delete(all, key)
	}
	if e.moved == nil {
		e.moved = map[confset.Key]struct{}{}
	}
	e.moved[key] = struct{}{}
}

// forget drops what is kept of a removed object for the sake of overlays.
func (e *editor) forget(key confset.Key) {
	switch {
	case key.Kind == kindOverlay:
		e.dropOverlay(key.Name)
	case overlaid(key.Kind):
		begin(&e.bases, &e.next.bases).del(key)
		e.answer(e.site().of(key), result{})
	}
}

// answer tells of each overlay of an object that the object is refused because of it, or takes that back: an overlay is in force where what
// it changes is, and a staged one is to come back when it isn't.
func (e *editor) answer(over []*laid, r result) {
	for _, l := range over {
		outs := l.outs
		if text := r.blame(l, over); text != "" {
			outs = append(slices.Clip(outs), Outcome{Key: l.key(), Rejected: true, Text: text})
		}
		if old, _ := e.notes.get(l.key()); rejects(old) > rejects(outs) {
			e.cleared = append(e.cleared, Outcome{Key: l.key(), Text: "what it changes is no longer refused because of it"})
		}
		e.note(l.key(), outs)
	}
}

// blame says what an overlay has to do with an object being refused; empty: nothing. Those that this version can't lay over anything are to
// blame alone, else all of them are.
func (r result) blame(l *laid, over []*laid) string {
	if !r.overlaid || l.problem == "" && slices.ContainsFunc(over, func(o *laid) bool { return o.problem != "" }) {
		return ""
	}
	why := r.outs[slices.IndexFunc(r.outs, func(o Outcome) bool { return o.Rejected })]
	return strings.TrimSpace(why.Key.String() + " is refused with it: " + strings.TrimSpace(why.Field+" "+why.Text))
}

// recovered tells that an object which isn't in the delta is served again, since its overlays changed.
func (e *editor) recovered(key confset.Key, r result) {
	old, _ := e.notes.get(key)
	if i := slices.IndexFunc(old, func(o Outcome) bool { return o.Rejected }); i >= 0 && rejects(r.outs) == 0 {
		e.cleared = append(e.cleared, Outcome{Key: key, Field: old[i].Field, Text: "its overlays changed; served again"})
	}
}
