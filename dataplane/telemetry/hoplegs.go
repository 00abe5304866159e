package telemetry

import "time"

// maxHopLegs is how many legs the diagnostic headers name.
const maxHopLegs = 32

// legs calls show for the legs that ended so far, in that order.
func (h *hopList) legs(r *Record, show func(name, outcome string, d time.Duration)) {
	list := legsOf(r, false).first(maxHopLegs)
	for i := range list {
		l := &list[i]
		outcome := okWord
		if l.failure != nil {
			outcome = l.failure.kind.String()
		}
		show("upstream."+token(l.server), outcome, l.took())
	}
}

// took is the time of the call itself, or of all that was done for it when there was none.
func (l *leg) took() time.Duration {
	if l.upstream.Start.IsZero() {
		return between(l.start, l.end)
	}
	if l.upstream.End.IsZero() {
		return between(l.upstream.Start, l.end)
	}
	return between(l.upstream.Start, l.upstream.End)
}

// token makes a name one that both headers can bear: letters, digits, '-', '_' and '.' stay.
func token(name string) string {
	b := []byte(cut(name, maxLabel))
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}
