// Package share hands out fleet-wide limits: which part of each limit a data plane may use, by the demand it reports.
//
// It promises that the parts of a limit never add up to more than the whole, counting what data planes may still be using: a part is made
// larger only from what is free, and what one data plane has to give up is free once it has said that it uses less. A data plane whose stream
// ended keeps its parts for two minutes, since it goes on serving with them; one that comes back says what it has. Limits that nobody has asked
// for, and those beyond what the ledger remembers, are split evenly.
//
// It refuses to be needed: it isn't on the path of any call, and without it every data plane goes on with what it has.
//
// Two things aren't counted: a data plane that never heard of any control plane uses a tenth of each limit by itself, and every data plane
// may have one call in flight, however small its part.
package share

import (
	"context"
	"sync"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// whole is a limit as a whole, in millionths.
const whole = 1_000_000

// Config of a Ledger. The zero value is good.
type Config struct {
	// Replicas is how many control planes hand out shares at the same time: this one hands out one part in so many. Default: 1.
	Replicas func() int
	// Allows returns what a limit allows over the whole fleet: calls a second, and in flight; 0: no such limit, or not known. Without it
	// demand is only compared with demand: what a limit has to spare goes where the demand is, not evenly. It is called with locks held.
	// Default: nothing is known.
	Allows func(limit string) (rate float64, concurrency int)
	// Settle is how long after the start data planes of an earlier control plane may take to come back, before anything is made larger. When
	// one has come back, and thereby said how many there were, all of them are awaited, for Hold at most. Default: 0.
	Settle time.Duration
	// Hold is how long the parts of a data plane that is gone are kept for it. Default 2 min.
	Hold time.Duration
	// Linger is how long a limit without demand is remembered; then it is split evenly again. Default 1 min.
	Linger time.Duration
	// Every is the time between two rounds. Default 250 ms.
	Every time.Duration
	// Most is how many parts (limits × data planes) are remembered; limits of single token subjects take a half at most. Default 1,000,000,
	// some 100 MB.
	Most int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Ledger knows who has which part of what. Run it, or call Round from time to time.
type Ledger struct {
	cfg  Config
	wake chan struct{} // one slot: a round is wanted at once

	mu       sync.Mutex
	nodes    map[string]*node   // guarded by mu
	order    []*node            // the same by name; guarded by mu
	limits   map[string]*limit  // guarded by mu
	standard limit              // the default share, as a limit that everyone wants alike; guarded by mu
	dirty    map[*limit]bool    // to be looked at in the next round; guarded by mu
	cold     bool               // limits were looked at while nothing could be made larger; guarded by mu
	start    time.Time          // guarded by mu
	swept    time.Time          // when limits without demand were last looked for; guarded by mu
	left     map[*node]struct{} // those of nodes that are gone; guarded by mu
	expired  time.Time          // when data planes gone for long were last looked for; guarded by mu
	expected int                // data planes of an earlier control plane; 0: none has come back; guarded by mu
	replicas int                // guarded by mu
	fewer    time.Time          // since when there are fewer replicas; guarded by mu
}

// New returns an empty ledger.
func New(cfg Config) *Ledger {
	if cfg.Replicas == nil {
		cfg.Replicas = func() int { return 1 }
	}
	if cfg.Allows == nil {
		cfg.Allows = func(string) (float64, int) { return 0, 0 }
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.Hold, 2 * time.Minute}, {&cfg.Linger, time.Minute}, {&cfg.Every, 250 * time.Millisecond}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if cfg.Most <= 0 {
		cfg.Most = 1_000_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Ledger{cfg: cfg, wake: make(chan struct{}, 1), nodes: map[string]*node{}, left: map[*node]struct{}{}, limits: map[string]*limit{}, dirty: map[*limit]bool{},
		standard: limit{parts: map[*node]*part{}}, start: cfg.Now(), replicas: max(1, cfg.Replicas())}
	l.swept = l.start
	return l
}

// Run makes rounds until ctx ends; it returns nil. It rests as long as a round took, so that a large fleet costs half a processor at most.
func (l *Ledger) Run(ctx context.Context) error {
	t := time.NewTicker(l.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-l.wake:
		}
		began := time.Now()
		l.Round()
		rest := time.NewTimer(time.Since(began))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
	}
}

// hurry asks for a round at once.
func (l *Ledger) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Outstanding is the sum of all parts of a limit that data planes may be using, in millionths; of the default shares for the empty name.
func (l *Ledger) Outstanding(limit string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.limits[limit]
	if x == nil {
		x = &l.standard
	}
	return int(x.outstanding())
}

// limit is one limit that somebody asked for.
type limit struct {
	id      string
	parts   map[*node]*part // one per data plane that has said what it holds
	quiet   time.Time       // since when nobody asks for it; zero: somebody does
	leaving bool            // it goes back to the default shares
	crowded bool            // and does so though it is asked for
	settled bool            // everyone who is there was told its part
	rate    float64         // what it allows, in thousandths of calls a second; 0: not known
	flying  float64         // and in flight
}

// part is what one data plane has of a limit.
type part struct {
	rate   int64  // thousandths of calls a second that it wants
	flying int64  // calls in flight that it wants
	sent   int64  // what it was told to use last
	echoed int64  // what it said it uses last
	named  bool   // it was told so on this stream
	term   uint64 // of the stream in which it said what it holds
}

func (p *part) outstanding() int64 { return max(p.sent, p.echoed) }

func (x *limit) outstanding() (sum int64) {
	for _, p := range x.parts {
		sum += p.outstanding()
	}
	return sum
}

// node is a data plane.
type node struct {
	name    string
	term    uint64    // of its stream
	stated  bool      // it has said what it holds, in this stream or an earlier one
	stating bool      // it is about to say it
	gone    time.Time // when its stream ended; zero: it is there
	wake    func()
	news    map[string]int32 // to be told; -1: the default again
	even    int32            // default share to be told; 0: none
}

func (n *node) there() bool { return n.gone.IsZero() && n.stated && !n.stating }

// tell notes what the data plane is to be told.
func (n *node) tell(limit string, share int64) {
	if limit == "" {
		n.even = int32(share)
		return
	}
	if n.news == nil {
		n.news = map[string]int32{}
	}
	n.news[limit] = int32(share)
}

// perMessage bounds the shares in one message; with the longest names it stays below 1 MiB.
const perMessage = 4000

// messages are what a data plane is to be told. The default share comes last: what isn't to have it was named before.
func (n *node) messages() (out []*syncv1.Shares) {
	now := &syncv1.Shares{}
	for id, ppm := range n.news {
		if len(now.Limits) == perMessage {
			out, now = append(out, now), &syncv1.Shares{}
		}
		now.Limits = append(now.Limits, &syncv1.LimitShare{Limit: id, SharePpm: ppm})
	}
	now.DefaultPpm = n.even
	n.news, n.even = nil, 0
	if len(now.Limits) > 0 || now.DefaultPpm > 0 {
		out = append(out, now)
	}
	return out
}
