package view

import (
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/confset"
)

// recentMost is how many earlier sets of a ring a delta can start from.
const recentMost = 8

// lane has the views of all scopes that select the same objects. It is immutable.
type lane struct {
	level  int32
	region string // empty: those without lanes of their own

	views [rings]*View // the same for both rings unless a rollout is active; nil before the first publication
}

// stamp is what a publication says.
type stamp struct {
	epoch    string
	revision int64
	since    time.Time
	history  []Change
	trail    trail
	sight    sight
	active   *rollout.State
	deltas   [rings]leveled // the same for both rings unless a rollout is active
}

// leveled is a delta of all scopes with the feature levels that its upserts need, one for each: looked at once for all lanes.
type leveled struct {
	confset.Delta
	levels []int32
}

func (v *Views) newLeveled(d confset.Delta) leveled {
	out := leveled{d, make([]int32, len(d.Upserts))}
	for i, o := range d.Upserts {
		out.levels[i] = v.Needs(o)
	}
	return out
}

// next makes the lane of a publication. Rings that don't differ share a view.
func (l *lane) next(at *stamp) *lane {
	n := &lane{level: l.level, region: l.region}
	n.views[ringOld] = l.view(ringOld, at)
	if at.active == nil && l.views[ringOld] == l.views[ringNew] {
		n.views[ringNew] = n.views[ringOld]
		return n
	}
	n.views[ringNew] = l.view(ringNew, at)
	l.join(n)
	if at.active == nil {
		n.views[ringOld] = n.views[ringNew]
	}
	return n
}

// join lets deltas start from the sets of both rings, since data planes go from one to the other.
func (l *lane) join(n *lane) {
	was, twin := l.views[ringNew], l.views[ringOld]
	if was == nil || twin == nil {
		return
	}
	recent := []*confset.Set{was.Set}
	for _, s := range slices.Concat([]*confset.Set{twin.Set}, was.recent, twin.recent) {
		if !slices.Contains(recent, s) && len(recent) < rings*recentMost {
			recent = append(recent, s)
		}
	}
	n.views[ringOld].recent, n.views[ringNew].recent = recent, recent
}

// view makes the next view of a ring.
func (l *lane) view(ring int, at *stamp) *View {
	next := &View{Epoch: at.epoch, Revision: at.revision, Since: at.since, history: at.history, trail: at.trail}
	prev, d := l.views[ring], l.filter(at.deltas[ring], at.sight)
	if prev == nil {
		next.Set = confset.Empty().Apply(d)
		return next
	}
	next.Set, next.recent = prev.Set.Apply(d), prev.recent
	if next.Set != prev.Set {
		next.recent = withRecent(prev.Set, prev.recent)
	}
	if prev.Epoch == next.Epoch {
		next.Changes = next.ChangesAfter(prev.Revision)
	}
	return next
}

// branch makes the first lane of a region from one of the other regions' and the secrets that are for this region besides, by ring.
func (l *lane) branch(region string, own [rings][]confset.Object) *lane {
	n := &lane{level: l.level, region: region}
	for ring, from := range l.views {
		if ring > 0 && from == l.views[ringOld] {
			n.views[ring] = n.views[ringOld]
			continue
		}
		n.views[ring] = from.with(slices.DeleteFunc(slices.Clone(own[ring]), func(o confset.Object) bool { return needs(o) > l.level }))
	}
	return n
}

// with returns a view that has further objects.
func (v *View) with(own []confset.Object) *View {
	next := &View{Epoch: v.Epoch, Revision: v.Revision, Since: v.Since, Changes: v.Changes, Set: v.Set,
		recent: v.recent, history: v.history, trail: v.trail}
	if next.Set = v.Set.Apply(confset.Delta{Upserts: own}); next.Set != v.Set {
		next.recent = withRecent(v.Set, v.recent)
	}
	return next
}

func withRecent(newest *confset.Set, earlier []*confset.Set) []*confset.Set {
	recent := append([]*confset.Set{newest}, earlier...)
	return recent[:min(len(recent), recentMost)]
}

// filter turns objects that aren't for this lane into removals: one that was for it before its last change must go.
func (l *lane) filter(d leveled, at sight) confset.Delta {
	out := confset.Delta{Removals: slices.Clip(d.Removals)} // shared: the first append copies
	for i, o := range d.Upserts {
		if d.levels[i] <= l.level && (o.Key.Kind != kindSecret || at.seen(l.region, o.Key.Name)) {
			out.Upserts = append(out.Upserts, o)
		} else {
			out.Removals = append(out.Removals, o.Key)
		}
	}
	return out
}
