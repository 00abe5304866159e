package peer

import (
	"sync"
	"time"
)

// How often the log is told of one address, and of how many at once that is remembered.
const (
	sayEvery = time.Minute
	mostTold = 1_000
)

// quiet keeps the log from being told the same for each request of each caller whose session is lost.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; by address
}

// say calls it unless it was called within sayEvery.
func (q *quiet) say(address string, now time.Time, it func()) {
	q.mu.Lock()
	last, known := q.last[address]
	again := !known || now.Sub(last) >= sayEvery
	if again {
		if q.last == nil || len(q.last) >= mostTold {
			q.last = map[string]time.Time{}
		}
		q.last[address] = now
	}
	q.mu.Unlock()
	if again {
		it()
	}
}
