package share

import (
	"strings"
	"time"
)

const (
	// sweepEvery is how often limits that should go are looked for.
	sweepEvery = 5 * time.Second
	// expireEvery is how often data planes that are gone for long are looked for.
	expireEvery = time.Second
	// callers begins the names of limits of which there is one per token subject, so that strangers say how many there are.
	callers = "jwt/"
)

// room is how many limits may be remembered, given how many data planes there are. Those of callers take a half at most: they don't keep out
// those that operators have written.
func (l *Ledger) room(id string) int {
	most := l.cfg.Most / max(1, len(l.nodes))
	if strings.HasPrefix(id, callers) {
		return most / 2
	}
	return most
}

// sweep finds limits that nobody asks for any more, and those that are too many.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	l.crowd()
	for _, x := range l.limits {
		l.look(x)
		switch {
		case x.crowded:
			l.dirty[x] = true
		case x.wanted():
			x.quiet, x.leaving = time.Time{}, false
		case x.quiet.IsZero():
			x.quiet = now
		case now.Sub(x.quiet) >= l.cfg.Linger:
			x.leaving = true
			l.dirty[x] = true
		}
	}
}

// crowd lets limits go, though they are asked for, when data planes that came later make them too many: those of callers first.
func (l *Ledger) crowd() {
	over := len(l.limits) - l.room("")
	for _, x := range l.limits {
		if x.crowded {
			over--
		}
	}
	for _, first := range []bool{true, false} {
		for id, x := range l.limits {
			if over > 0 && !x.crowded && strings.HasPrefix(id, callers) == first {
				x.crowded, x.leaving = true, true
				over--
			}
		}
	}
}

func (x *limit) wanted() bool {
	for _, p := range x.parts {
		if p.rate > 0 || p.flying > 0 {
			return true
		}
	}
	return false
}
