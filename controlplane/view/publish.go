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
	v.lanes.Store(v.lanes.Load().next(v.takePending()))
	v.subs.notify()
	select {
	case <-v.ready:
	default:
		close(v.ready)
	}
}

func (v *Views) takePending() *stamp {
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
	s, staged := v.index.Load(), v.staging.Load()
	at := &stamp{epoch: epochFor(s.Epoch, len(v.held)), revision: s.Revision, since: v.since, history: v.history, trail: v.trail,
		active: staged.active}
	at.deltas[ringOld] = v.newLeveled(staged.masks[ringOld].over(d))
	at.deltas[ringNew] = at.deltas[ringOld]
	if staged.active != nil {
		at.deltas[ringNew] = v.newLeveled(staged.masks[ringNew].over(d))
	}
	at.sight = v.sights.sight(at.deltas, staged.masks, v.lanes.Load())
	clear(v.pending)
	v.since = time.Time{}
	return at
}

// wake tells the publisher that something is pending.
func (v *Views) wake() {
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}
