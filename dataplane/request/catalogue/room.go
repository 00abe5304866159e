package catalogue

import "context"

// roomKey is where the context of a walk holds its room.
type roomKey struct{}

type room struct {
	c *Catalogue
	w *walker
}

// Reserve counts n bytes that a Source is about to hold of a page against what all walks under way may hold, until that page is there or the
// walk has ended. It is a fault where they hold too much. ctx is that of Page, whose goroutine calls it; with any other one nothing is counted.
func Reserve(ctx context.Context, n int64) error {
	r, ok := ctx.Value(roomKey{}).(*room)
	if !ok {
		return nil
	}
	if r.c.flying.Add(n) > r.c.room {
		r.c.flying.Add(-n)
		return busy(r.w.flight.server)
	}
	r.w.reading += n
	return nil
}
