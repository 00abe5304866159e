package telemetry

import (
	"sync"
	"time"
)

// maxLimited is how many different failures a limiter tells apart; the rest share one allowance.
const maxLimited = 4096

// limiter lets so many of each failure through per second.
type limiter struct {
	perSecond int

	mu      sync.Mutex
	windows map[faultKey]*window // guarded by mu
}

// window is one second of one failure.
type window struct {
	start      time.Time
	let        int
	suppressed int // since the last one let through
}

func newLimiter(perSecond int) *limiter {
	return &limiter{perSecond: perSecond, windows: map[faultKey]*window{}}
}

// allow reports whether one more may pass, and if so how many were held back since the last that did.
func (l *limiter) allow(k faultKey, now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windowLocked(k)
	if now.Sub(w.start) >= time.Second {
		w.start, w.let = now, 0
	}
	if w.let >= l.perSecond {
		w.suppressed++
		return false, 0
	}
	w.let++
	suppressed, w.suppressed = w.suppressed, 0
	return true, suppressed
}

func (l *limiter) windowLocked(k faultKey) *window {
	if w := l.windows[k]; w != nil {
		return w
	}
	if len(l.windows) >= maxLimited {
		k = faultKey{}
		if w := l.windows[k]; w != nil {
			return w
		}
	}
	w := &window{}
	l.windows[k] = w
	return w
}

func keyOf(r *Record) faultKey {
	return faultKey{r.Fault.Hop, r.Fault.Phase, r.Fault.Kind, r.Server}
}
