package catalogue

import (
	"context"
	"errors"

	"github.com/hopgate/hopgate/proto/fault"
)

// roomKey is where the context of a walk holds its room.
type roomKey struct{}

type room struct {
	c *Catalogue
	w *walker
}

// Reserve counts n bytes that a Source is about to hold of a page against what all walks under way may hold, until that page is there or the
// walk has ended; from then on the walk is in the phase body. It is a fault where they hold too much. ctx is that of Page, whose goroutine calls
// it; with any other one nothing is counted.
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
	r.w.flight.enter(fault.Body)
	return nil
}

// Reached says which phase a Source is in with the page that it was asked for: fault.Connect, fault.Headers or fault.Body. Until it says so that is
// headers, and with the first Reserve body. ctx is as for Reserve.
func Reached(ctx context.Context, at fault.Phase) {
	if r, ok := ctx.Value(roomKey{}).(*room); ok {
		r.w.flight.enter(at)
	}
}

func (f *flight) enter(at fault.Phase) { f.reached.Store(int32(at)) }

func (f *flight) phase() fault.Phase { return fault.Phase(f.reached.Load()) }

// Where is the phase that a call had reached when err ended it: that of the fault in err, or what another error in it says (Reached); otherwise
// without either. Events of an answer are its body.
func Where(err error, otherwise fault.Phase) fault.Phase {
	at := otherwise
	var left interface{ Reached() fault.Phase }
	switch f := fault.As(err); {
	case f != nil:
		at = f.Phase
	case errors.As(err, &left):
		at = left.Reached()
	}
	if at == fault.Stream {
		return fault.Body
	}
	return at
}
