package relay

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// spread is over how long relays come back after a loss that may have hit all of them.
	spread = 5 * time.Second
	// paceFrom and paceTo bound the delay between attempts that fail.
	paceFrom = 500 * time.Millisecond
	paceTo   = 15 * time.Second
)

// follow holds one stream after the other until ctx ends.
func (s *Store) follow(ctx context.Context) {
	var end ending
	var pace pacing
	for turn := 0; ctx.Err() == nil; turn += end.turn {
		address := s.cfg.Upstreams[turn%len(s.cfg.Upstreams)]
		end = s.session(ctx, address, end.resync)
		s.note(func() {
			if s.connected {
				s.connected, s.lostAt = false, time.Now()
			}
		})
		if ctx.Err() != nil {
			return
		}
		wait := end.wait
		if end.paced {
			wait = max(wait, pace.next(end.welcomed))
		} else {
			pace = pacing{}
		}
		s.cfg.Log.Warn("stream to home ended", "address", address, "error", end.err, "next_in", wait.Round(time.Millisecond))
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// pacing spaces attempts: uniform over 5 s after the loss of a stream that had worked, then decorrelated jitter up to 15 s.
type pacing struct{ last time.Duration }

func (b *pacing) next(worked bool) time.Duration {
	if worked {
		b.last = paceFrom
		return rand.N(spread)
	}
	most := min(paceTo, 3*max(b.last, paceFrom))
	b.last = paceFrom + rand.N(most-paceFrom)
	return b.last
}
