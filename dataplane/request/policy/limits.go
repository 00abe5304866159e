package policy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

const (
	// whole is a share of everything, in millionths.
	whole = 1_000_000
	// firstShare is the share of each limit before a control plane has said anything in this process. A data plane that starts cut off from
	// its control plane can't know how large the fleet is; a tenth keeps a fleet that uses a limit up within 110 % of it.
	firstShare = whole / 10
	// follows, as a share, means that the limit has the default share.
	follows = -1
)

// LimitsConfig of Limits. The zero value is good.
type LimitsConfig struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Limits holds this data plane's part of fleet-wide limits: a share of each, in millionths, that a control plane hands out by demand. Without
// one the last shares stay in force. Make one with NewLimits; safe for concurrent use.
//
// In force is rate × share, with bursts of what that is in a second (at least one call), and max(1, floor(concurrency × share)) calls in
// flight. So a fleet that is larger than a limit's concurrency may exceed it: every data plane may have one call in flight. A rate isn't
// exceeded by that, but for the first call on each.
type Limits struct {
	now      func() time.Time
	start    time.Time
	standard atomic.Int64 // default share
	buckets  buckets

	mu       sync.Mutex
	measured int64 // when demand was measured last; guarded by mu
	swept    int64 // when idle buckets were dropped last; guarded by mu
	named    bool  // a control plane has named a default share; guarded by mu
	echo     bool  // and it hasn't been told back yet; guarded by mu
}

// NewLimits returns limits with a tenth of everything.
func NewLimits(cfg LimitsConfig) *Limits {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Limits{now: cfg.Now, start: cfg.Now(), buckets: newBuckets()}
	l.standard.Store(firstShare)
	return l
}

// Permit is the right to one call. The zero value is one that needs no release.
type Permit struct {
	first [4]*bucket
	more  []*bucket
	n     int // of first
}

// Release gives back what is held while the call is in flight. Releasing again does nothing, unless the permit was copied before.
func (p *Permit) Release() {
	for _, b := range p.first[:p.n] {
		b.flying.Add(-1)
	}
	for _, b := range p.more {
		b.flying.Add(-1)
	}
	*p = Permit{}
}

func (p *Permit) hold(b *bucket) {
	if p.n < len(p.first) {
		p.first[p.n] = b
		p.n++
		return
	}
	p.more = append(p.more, b)
}

// Acquire takes one call of every limit in the list, or of none: then it returns a *fault.Error, exhausted (429), that names the first limit
// that refuses and says when to try again. After success the caller calls Release on the permit, once. No limits: no cost.
func (l *Limits) Acquire(list []*table.Limit) (Permit, error) {
	if len(list) == 0 {
		return Permit{}, nil
	}
	return l.acquire(list)
}

// payment is what a call has taken of one bucket.
type payment struct {
	bucket *bucket
	spent  int64 // of its rate; 0: none
	flies  bool
}

func (l *Limits) acquire(list []*table.Limit) (p Permit, err error) {
	var room [8]payment
	paid := room[:0]
	now := l.clock()
	for _, limit := range list {
		if limit.Rate <= 0 && limit.Concurrency <= 0 {
			continue
		}
		b := l.bucket(limit.ID, now)
		pay, no := b.take(limit, b.portion(l), now)
		if no.why != 0 {
			giveBack(paid)
			return Permit{}, refuse(limit, no)
		}
		paid = append(paid, pay)
	}
	for _, pay := range paid {
		pay.bucket.offered.Add(1)
		if pay.flies {
			p.hold(pay.bucket)
		}
	}
	return p, nil
}

// giveBack undoes payments of a call that another limit refuses. It isn't counted as their demand: they aren't what keeps it waiting.
func giveBack(paid []payment) {
	for _, pay := range paid {
		if pay.spent != 0 {
			pay.bucket.due.Add(-pay.spent)
		}
		if pay.flies {
			pay.bucket.flying.Add(-1)
		}
	}
}

// clock is the time since the start, in nanoseconds.
func (l *Limits) clock() int64 { return int64(l.now().Sub(l.start)) }
