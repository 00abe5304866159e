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

// lateness is how a server does that ran out of time.
type lateness struct {
	noted time.Duration // when the last walk ended that counted
	until time.Duration // when it may be asked again
	pause time.Duration
	phase fault.Phase // where it was then
}

// lateLocked refuses a walk while its server isn't to be asked. Each caller gets a fault of its own.
func (c *Catalogue) lateLocked(key lateKey, s *table.Server, now time.Duration) error {
	l, ok := c.late[key]
	if !ok || now >= l.until {
		return nil
	}
	f := overdue(s, key.kind, l.phase, nil)
	f.RetryAfter = l.until - now
	return f
}

// timed remembers a walk that ended because its time was over, and forgets that when one succeeds. Walks that went on at the same time count
// once.
func (c *Catalogue) timed(ctx context.Context, f *flight, err error) {
	if err != nil && !expired(ctx, err) {
		return
	}
	c.remember(lateKey{f.key.Server, f.key.Kind, f.key.Scope}, f.began, err)
}

// remember notes that a server ran out of time in what began then, or that it didn't: err is nil.
func (c *Catalogue) remember(key lateKey, began time.Duration, err error) {
	now := c.elapsed()
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
	case began < l.noted:
		return
	default:
		l.pause = min(2*l.pause, lateMost)
	}
	l.noted, l.until, l.phase = now, now+l.pause, Where(err, fault.Headers)
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
func overdue(s *table.Server, kind Kind, at fault.Phase, err error) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: at, Kind: fault.TimedOut, Server: s.Name, Err: err,
		Message: "the server " + s.Name + " didn't answer " + kind.Method() + " in time",
		Hint:    "look at the server's own log, or raise timeouts.list"}
}

// Late returns the fault of a server that ran out of time lately and isn't to be asked for now, upstream/timed_out with RetryAfter; nil: it may be
// asked. scope is as in Key, so that a caller with a credential of its own doesn't bar others.
func (c *Catalogue) Late(s *table.Server, kind Kind, scope string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lateLocked(lateKey{s.Hash, kind, scope}, s, c.elapsed())
}

// Timely does something of a server that isn't a list, a greeting, unless the server ran out of time with it lately: then the fault of Late is there
// at once. What do takes is remembered as for lists: 1 s, doubling to 30 s, one success forgets. It counts when ctx, which do ends with, has run
// out of time while the server was asked, and the server had half of its time for lists at least; ErrUnanswered in it leaves that to others.
func (c *Catalogue) Timely(ctx context.Context, s *table.Server, kind Kind, scope string, do func() error) error {
	if err := c.Late(s, kind, scope); err != nil {
		return err
	}
	began := c.elapsed()
	err := do()
	if err == nil || ranOut(ctx, err) && 2*(c.elapsed()-began) >= limitOf(s) {
		c.remember(lateKey{s.Hash, kind, scope}, began, err)
	}
	return err
}

// ranOut reports whether err is the end of the time of ctx, in the hands of a server.
func ranOut(ctx context.Context, err error) bool {
	if fault.As(err) != nil {
		return expired(ctx, err)
	}
	return errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnanswered)
}
