package catalogue

import (
	"context"
	"errors"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	// lateLeast and lateMost bound how long a server that ran out of time isn't asked again.
	lateLeast = time.Second
	lateMost  = 30 * time.Second
	// mostLate bounds of how many that is remembered.
	mostLate = 10_000
)

// ErrUnanswered is wrapped by a Source around the end of its time where the server hadn't even begun to answer, and something else takes care
// that such a server isn't asked all the time: the catalogue then leaves it to that.
var ErrUnanswered = errors.New("no answer began")

// lateKey is what a server is slow for. The scope is in it so that one caller, with a credential of its own, doesn't bar others.
type lateKey struct {
	server confset.Hash
	kind   Kind
	scope  string
}

func (k *Key) late() lateKey { return lateKey{k.Server, k.Kind, k.Scope} }

// lateness is how a server does that ran out of time.
type lateness struct {
	noted time.Duration // when the last walk ended that counted
	until time.Duration // when it may be asked again
	pause time.Duration
}

// lateLocked refuses a walk while its server isn't to be asked. Each caller gets a fault of its own.
func (c *Catalogue) lateLocked(key Key, s *table.Server, now time.Duration) error {
	l, ok := c.late[key.late()]
	if !ok || now >= l.until {
		return nil
	}
	f := overdue(s, key.Kind, nil)
	f.RetryAfter = l.until - now
	return f
}

// timed remembers a walk that ended because its time was over, and forgets that when one succeeds. Walks that went on at the same time count
// once.
func (c *Catalogue) timed(ctx context.Context, f *flight, err error) {
	if err != nil && !expired(ctx, err) {
		return
	}
	now, key := c.elapsed(), f.key.late()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.late, key)
		return
	}
	l, known := c.late[key]
	switch {
	case !known:
		l.pause = lateLeast
		for other := range c.late {
			if len(c.late) < mostLate {
				break
			}
			delete(c.late, other)
		}
	case f.began < l.noted:
		return
	default:
		l.pause = min(2*l.pause, lateMost)
	}
	l.noted, l.until = now, now+l.pause
	c.late[key] = l
}

// expired reports whether a walk failed because its own time was over, in the hands of its server.
func expired(ctx context.Context, err error) bool {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, ErrUnanswered) {
		return false
	}
	f := fault.As(err)
	return f != nil && f.Hop == fault.Upstream && f.Kind == fault.TimedOut
}

// overdue is the fault of a server that ran out of time.
func overdue(s *table.Server, kind Kind, err error) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TimedOut, Server: s.Name, Err: err,
		Message: "the server " + s.Name + " didn't answer " + kind.Method() + " in time",
		Hint:    "look at the server's own log, or raise timeouts.list"}
}
