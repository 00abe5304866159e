package view

import (
	"context"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

// publishAll publishes what is pending until ctx ends: at once after a quiet time, else when a burst pauses or lasts too long.
func (v *Views) publishAll(ctx context.Context) {
	for {
		select {
		case <-v.dirty:
		case <-ctx.Done():
			return
		}
		v.publish()
		for v.burst(ctx) {
			v.publish()
		}
	}
}

// burst waits until there was nothing new for the debounce time, or the oldest unpublished change has waited for the longest delay. It
// reports whether there is something to publish.
func (v *Views) burst(ctx context.Context) (more bool) {
	quiet := time.NewTimer(v.cfg.Debounce)
	defer quiet.Stop()
	var latest time.Time
	for {
		select {
		case <-v.dirty:
			if !more {
				more, latest = true, time.Now().Add(v.cfg.MostDelay)
			}
			quiet.Reset(min(v.cfg.Debounce, time.Until(latest)))
		case <-quiet.C:
			return more
		case <-ctx.Done():
			return false
		}
	}
}

// publish makes new views of what is pending. Only publishAll calls it.
func (v *Views) publish() {
	delta, at := v.takePending()
	at.levels = levelsOf(delta.Upserts)
	now, next := v.lanes.Load(), map[*lane]*View{}
	for l := range now.all {
		next[l] = l.next(delta, at)
	}
	// A region changes lanes only from one complete view to another: new lanes come before the views of the others, old ones go after.
	if len(at.sight.fresh) > 0 {
		now = now.grown(branches(now, next, at.sight))
		v.lanes.Store(now)
	}
	for l, view := range next {
		l.view.Store(view)
	}
	if len(at.sight.closed) > 0 {
		v.lanes.Store(now.shrunk(func(region string) bool { _, ok := at.sight.closed[region]; return ok }))
	}
	v.subs.notify()
	select {
	case <-v.ready:
	default:
		close(v.ready)
	}
}

// branches makes the lanes of regions that had none, from what the other regions are about to get.
func branches(now *lanes, next map[*lane]*View, at sight) map[string]tier {
	out := make(map[string]tier, len(at.fresh))
	for region, own := range at.fresh {
		out[region] = newTier(region)
		for level, l := range out[region] {
			l.view.Store(l.branch(next[now.other[level]], own))
		}
	}
	return out
}

func (v *Views) takePending() (confset.Delta, stamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var d confset.Delta
	for key, o := range v.pending {
		if o == nil {
			d.Removals = append(d.Removals, key)
		} else {
			d.Upserts = append(d.Upserts, *o)
		}
	}
	s := v.index.Load()
	at := stamp{epoch: epochFor(s.Epoch, len(v.held)), revision: s.Revision, since: v.since, history: v.history, trail: v.trail,
		sight: v.sights.sight(d, v.lanes.Load())}
	clear(v.pending)
	v.since = time.Time{}
	return d, at
}

// wake tells the publisher that something is pending.
func (v *Views) wake() {
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}
