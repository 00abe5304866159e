package view

import (
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/confset"
)

// Rings of data planes: those that are to have the change of the active rollout, and the others.
const (
	ringOld = iota
	ringNew
	rings
)

// mask is what stands in for objects where a rollout isn't.
type mask map[confset.Key]image

// image is an object as it was before a rollout.
type image struct {
	obj  *confset.Object // nil: it didn't exist
	lost bool            // it can't be opened: the fleet keeps what it has of it
	need need
}

// over returns what a delta is for those to whom the mask applies.
func (m mask) over(d confset.Delta) confset.Delta {
	if len(m) == 0 {
		return d
	}
	var out confset.Delta
	for _, o := range d.Upserts {
		if img, ok := m[o.Key]; ok {
			img.add(o.Key, &out)
		} else {
			out.Upserts = append(out.Upserts, o)
		}
	}
	for _, key := range d.Removals {
		if img, ok := m[key]; ok {
			img.add(key, &out)
		} else {
			out.Removals = append(out.Removals, key)
		}
	}
	return out
}

func (i image) add(key confset.Key, to *confset.Delta) {
	switch {
	case i.lost:
	case i.obj == nil:
		to.Removals = append(to.Removals, key)
	default:
		to.Upserts = append(to.Upserts, *i.obj)
	}
}

// Crowd is what data planes have in common that are told the same at the same time.
type Crowd struct {
	Region, Group string
	Level         int32
	// Changed: they are to have the change of the active rollout.
	Changed bool
}

// Crowds says which crowd a data plane is in. Two of them are equal when they say the same.
type Crowds struct{ active *rollout.State }

// Crowds returns the crowds of the newest views.
func (v *Views) Crowds() Crowds { return Crowds{v.lanes.Load().active} }

// Of returns the crowd of a scope.
func (c Crowds) Of(s Scope) Crowd {
	return Crowd{Region: s.Region, Group: s.Group, Level: clampLevel(s.FeatureLevel), Changed: ringOf(c.active, s) == ringNew}
}

func clampLevel(level int32) int32 { return min(max(level, 0), levels) }

// ringOf returns the ring of a scope.
func ringOf(active *rollout.State, s Scope) int {
	if active != nil && active.Admits(rollout.Place{Node: s.Node, Region: s.Region, Relay: s.Relay}) {
		return ringNew
	}
	return ringOld
}
