package balance

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

const (
	// maxOpen is the longest a breaker stays open before the next attempt, and how long that attempt keeps others out.
	maxOpen = 30 * time.Second
	// firstOpen counts for servers that don't say how long.
	firstOpen = time.Second
)

// breaker remembers the failures of one instance. The zero value is closed.
type breaker struct {
	failures atomic.Int32 // in a row, while it is closed
	until    atomic.Int64 // when the next attempt may be made, unix nanoseconds; 0: it is closed
	// why is the last failure that counted; nil: nobody said. Only failures write it.
	why atomic.Pointer[fault.Error]

	mu     sync.Mutex
	since  time.Time // guarded by mu; when it opened
	rounds int       // guarded by mu; attempts that failed since
	trial  time.Time // guarded by mu; until then an attempt keeps others out; zero: none is under way
	handed bool      // guarded by mu; no probe can tell, so a call may
}

func (k *breaker) closed() bool { return k.until.Load() == 0 }

// try asks for the one attempt that is made when the time is over. grace is how long calls wait for a probe to make it. When ok is false,
// wait is how long it makes sense to stay away.
func (k *breaker) try(now time.Time, grace time.Duration) (ok bool, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.until.Load()
	if u == 0 {
		return false, 0 // it closed meanwhile
	}
	until := time.Unix(0, u)
	switch {
	case now.Before(until):
		return false, until.Sub(now)
	case now.Before(k.trial):
		return false, time.Second
	case !k.handed && now.Before(until.Add(grace)):
		return false, time.Second
	}
	k.trial = now.Add(maxOpen)
	return true, 0
}

// succeed takes note that the instance answered. A success that isn't an attempt's closes nothing: it may have begun before the failures.
func (k *breaker) succeed(trial bool) {
	if !trial {
		if k.failures.Load() != 0 {
			k.failures.Store(0)
		}
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures.Store(0)
	k.since, k.rounds, k.trial, k.handed = time.Time{}, 0, time.Time{}, false
	k.until.Store(0)
}

// fail takes note of a failure; most is how many in a row open it, first for how long. It reports whether it opened it by that.
func (k *breaker) fail(now time.Time, trial bool, most int, first time.Duration, random float64) (opened bool) {
	if most <= 0 || !trial && (!k.closed() || int(k.failures.Add(1)) < most) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed() && trial: // another attempt has closed it
		return false
	case k.closed():
		k.since, k.rounds, opened = now, 0, true
	case !trial: // two failures at once
		return false
	default:
		k.rounds++
	}
	k.trial, k.handed = time.Time{}, false
	k.until.Store(now.Add(window(first, k.rounds, random)).UnixNano())
	return opened
}

// spare ends an attempt that told nothing. handed: it was a probe that can't tell, so the next call shall.
func (k *breaker) spare(handed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trial = time.Time{}
	k.handed = k.handed || handed
}

// opening is since when it is open; zero: it is closed.
func (k *breaker) opening() time.Time {
	if k.closed() {
		return time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.since
}

// window is how long a breaker stays open: doubled with each round up to maxOpen, and up to a quarter shorter, so that many don't try at once.
func window(first time.Duration, rounds int, random float64) time.Duration {
	if first <= 0 {
		first = firstOpen
	}
	w := first
	for range rounds {
		if w >= maxOpen/2 {
			w = max(maxOpen, first)
			break
		}
		w *= 2
	}
	return w - time.Duration(random*float64(w)/4)
}
