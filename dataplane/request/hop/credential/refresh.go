package credential

import (
	"context"
	"sync"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

const (
	renewEvery = time.Second      // how often tokens near their end are looked for
	sweepEvery = 30 * time.Second // how often what isn't used is forgotten
	mostAhead  = 8                // tokens renewed at once
)

// Run renews tokens of client_credentials that are in use before their end, and forgets what isn't used. It returns nil after ctx ends and
// everything it began has ended. Exchanged tokens aren't renewed ahead: the subject isn't kept.
func (r *Resolver) Run(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, mostAhead)
	swept := r.cfg.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := r.cfg.Now()
		r.renewDue(ctx, now, slots, &work)
		if now.Sub(swept) >= sweepEvery {
			swept = now
			r.sweep(now)
		}
	}
}

// renewDue starts a renewal for each token that is due, as far as there are slots; the others wait for the next tick.
func (r *Resolver) renewDue(ctx context.Context, now time.Time, slots chan struct{}, work *sync.WaitGroup) {
	for _, e := range r.machines() {
		select {
		case slots <- struct{}{}:
		default:
			return
		}
		f := e.begin(now)
		if f == nil {
			<-slots
			continue
		}
		work.Go(func() {
			defer func() { <-slots }()
			e.fly(ctx, f, r.cfg.Now, func(ctx context.Context) (*token, *fault.Error) {
				t, failure := r.fetch(ctx, &order{server: e.server, secret: e.secret})
				r.worry(e, failure)
				return t, failure
			})
		})
	}
}

// machines are the entries that may hold a token of client_credentials.
func (r *Resolver) machines() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*entry, 0, len(r.owners))
	for _, e := range r.owners {
		if e.token.Load() != nil {
			out = append(out, e)
		}
	}
	return out
}
