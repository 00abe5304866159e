package follow

import (
	"math/rand/v2"
	"time"
)

const (
	// spread is over how long data planes come back after a loss that may have hit all of them.
	spread = 5 * time.Second
	// paceFrom and paceTo bound the delay between attempts that fail.
	paceFrom = 500 * time.Millisecond
	paceTo   = 15 * time.Second
)

// pacing spaces attempts: uniform over 5 s after the loss of a stream that had worked, then decorrelated jitter up to 15 s (each delay
// is uniform between 0.5 s and three times the one before).
type pacing struct{ last time.Duration }

// next returns the delay before the next attempt.
func (b *pacing) next(worked bool) time.Duration {
	if worked {
		b.last = paceFrom
		return rand.N(spread)
	}
	most := min(paceTo, 3*max(b.last, paceFrom))
	b.last = paceFrom + rand.N(most-paceFrom)
	return b.last
}

func (b *pacing) reset() { b.last = 0 }
