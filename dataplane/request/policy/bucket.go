package policy

import (
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

const (
	second = int64(time.Second)
	// slowest is the longest time between two calls: some 30 years.
	slowest = int64(1e18)
)

// bucket is what is in use of one limit on this data plane. Calls touch only its atomics.
type bucket struct {
	id    string
	share atomic.Int64 // millionths, or follows
	limit atomic.Pointer[table.Limit]
	used  atomic.Int64 // when a call came last, within a second

	due     atomic.Int64 // when a call comes that keeps to the rate exactly: the generic cell rate algorithm's theoretical arrival time
	flying  atomic.Int64 // calls in flight
	peak    atomic.Int64 // most of them since the last measurement
	offered atomic.Int64 // calls since the last measurement: let pass, or refused here
	crowded atomic.Int64 // of them refused since too many were in flight

	report report // guarded by Limits.mu
}

// why a call is refused.
const (
	tooFast = iota + 1
	tooMany
)

// refusal says why, and after which time it is worth trying again.
type refusal struct {
	why  int
	wait time.Duration
}

// portion is the share in force.
func (b *bucket) portion(l *Limits) int64 {
	if s := b.share.Load(); s >= 0 {
		return s
	}
	return l.standard.Load()
}

// touch notes that a call came.
func (b *bucket) touch(limit *table.Limit, now int64) {
	if now-b.used.Load() > second {
		b.used.Store(now)
	}
	if b.limit.Load() != limit {
		b.limit.Store(limit)
	}
}

// take takes one call, or nothing.
func (b *bucket) take(limit *table.Limit, share, now int64) (payment, refusal) {
	b.touch(limit, now)
	pay := payment{bucket: b}
	if limit.Concurrency > 0 {
		if !b.fly(allowed(limit, share)) {
			b.offered.Add(1)
			b.crowded.Add(1)
			return payment{}, refusal{tooMany, time.Second}
		}
		pay.flies = true
	}
	if limit.Rate > 0 {
		spent, wait := b.spend(interval(limit.Rate, share), now)
		if spent == 0 {
			b.offered.Add(1)
			if pay.flies {
				b.flying.Add(-1)
			}
			return payment{}, refusal{tooFast, wait}
		}
		pay.spent = spent
	}
	return pay, refusal{}
}

// allowed is how many calls may be in flight.
func allowed(limit *table.Limit, share int64) int64 {
	return max(1, int64(limit.Concurrency)*share/whole)
}

// interval is the time between two calls at a rate × share.
func interval(rate float64, share int64) int64 {
	if t := float64(second) * whole / (rate * float64(share)); t < float64(slowest) {
		return max(1, int64(t))
	}
	return slowest
}

// fly counts one more call in flight, if there are less than most.
func (b *bucket) fly(most int64) bool {
	for {
		n := b.flying.Load()
		if n >= most {
			return false
		}
		if b.flying.CompareAndSwap(n, n+1) {
			for p := b.peak.Load(); n+1 > p && !b.peak.CompareAndSwap(p, n+1); p = b.peak.Load() {
			}
			return true
		}
	}
}

// spend takes one call at an interval, with bursts of a second's worth and at least one. It returns what it took, or 0 and how long to wait.
//
// The debt is kept as time, so that a changed share or rate acts at once and makes no credit: a bucket that was half empty still is. Debt
// beyond what the present interval allows is forgiven.
func (b *bucket) spend(step, now int64) (spent int64, wait time.Duration) {
	burst := max(second, step)
	if step == slowest {
		return 0, time.Second // no share at all; it may come any moment
	}
	for {
		due := b.due.Load()
		next := min(max(due, now), now+burst) + step
		if late := next - now - burst; late > 0 {
			return 0, time.Duration(late)
		}
		if b.due.CompareAndSwap(due, next) {
			return step, 0
		}
	}
}
