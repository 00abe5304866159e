package view

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

// recentMost is how many earlier sets a delta can start from.
const recentMost = 8

// lane makes the views of all scopes that select the same objects.
type lane struct {
	level  int32
	region string // empty: those without lanes of their own

	view atomic.Pointer[View] // stored by the publisher only
}

// stamp is what a publication says besides its objects.
type stamp struct {
	epoch    string
	revision int64
	since    time.Time
	history  []Change
	trail    trail
	sight    sight
	levels   []int32 // that the upserts of the delta need, one for each
}

// levelsOf returns the feature levels that objects need: looked at once for all lanes.
func levelsOf(objs []confset.Object) []int32 {
	out := make([]int32, len(objs))
	for i, o := range objs {
		out[i] = needs(o)
	}
	return out
}

// next makes the next view from the delta of all scopes.
func (l *lane) next(d confset.Delta, at stamp) *View {
	next := &View{Epoch: at.epoch, Revision: at.revision, Since: at.since, history: at.history, trail: at.trail}
	prev := l.view.Load()
	if prev == nil {
		next.Set = confset.Empty().Apply(l.filter(d, at))
		return next
	}
	next.Set, next.recent = prev.Set.Apply(l.filter(d, at)), prev.recent
	if next.Set != prev.Set {
		next.recent = withRecent(prev.Set, prev.recent)
	}
	if prev.Epoch == next.Epoch {
		next.Changes = next.ChangesAfter(prev.Revision)
	}
	return next
}

// branch makes the first view of a lane from one of the other regions' and the secrets that are for this region besides.
func (l *lane) branch(from *View, own []confset.Object) *View {
	next := &View{Epoch: from.Epoch, Revision: from.Revision, Since: from.Since, Changes: from.Changes, Set: from.Set,
		recent: from.recent, history: from.history, trail: from.trail}
	own = slices.DeleteFunc(slices.Clone(own), func(o confset.Object) bool { return needs(o) > l.level })
	if next.Set = from.Set.Apply(confset.Delta{Upserts: own}); next.Set != from.Set {
		next.recent = withRecent(from.Set, from.recent)
	}
	return next
}

func withRecent(newest *confset.Set, earlier []*confset.Set) []*confset.Set {
	recent := append([]*confset.Set{newest}, earlier...)
	return recent[:min(len(recent), recentMost)]
}

// filter turns objects that aren't for this lane into removals: one that was for it before its last change must go.
func (l *lane) filter(d confset.Delta, at stamp) confset.Delta {
	out := confset.Delta{Removals: slices.Clip(d.Removals)} // shared: the first append copies
	for i, o := range d.Upserts {
		if at.levels[i] <= l.level && (o.Key.Kind != kindSecret || at.sight.seen(l.region, o.Key.Name)) {
			out.Upserts = append(out.Upserts, o)
		} else {
			out.Removals = append(out.Removals, o.Key)
		}
	}
	return out
}
