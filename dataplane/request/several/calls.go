package several

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// mostCalls bounds the calls in sessions of their own that can be cancelled. Those beyond run to their end.
const mostCalls = 10_000

// calls are those in flight that run in sessions of their own, which no sealed session names, so that a cancellation finds them on this data
// plane. The zero value holds none; safe for concurrent use.
type calls struct {
	n  atomic.Int64
	mu sync.Mutex
	at map[call]*session.Upstream // guarded by mu
}

// call names a call as its caller does.
type call struct {
	principal, session, id string
}

// Runs notes that the caller's request runs in a session of its own, until the returned function is called. A caller without a session can't
// cancel it.
func (s *Servers) Runs(principal, callers string, id []byte, in *session.Upstream) (remove func()) {
	if callers == "" || in.ID == "" || len(id) == 0 {
		return func() {}
	}
	c, key := &s.calls, call{principal, callers, string(id)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.at) >= mostCalls {
		return func() {}
	}
	if c.at == nil {
		c.at = map[call]*session.Upstream{}
	}
	c.at[key] = in
	c.n.Store(int64(len(c.at)))
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.at[key] == in {
			delete(c.at, key)
			c.n.Store(int64(len(c.at)))
		}
	}
}

// of returns the session in which the request runs that a notification is about.
func (c *calls) of(r *Request) (u session.Upstream, ok bool) {
	if r.Record.Session == "" || c.n.Load() == 0 {
		return u, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.at[call{r.Principal.ID, r.Record.Session, string(r.Env.CancelID.Of(r.Body))}]
	if ok {
		u = *held
	}
	return u, ok
}

// cancel passes a cancellation into the session of the one call that it is about.
func (s *Servers) cancel(ctx context.Context, r *Request) (found bool) {
	u, ok := s.calls.of(r)
	if !ok || r.Record.Method != "notifications/cancelled" || r.Era != message.Legacy {
		return false
	}
	m, open := r.Scope.Member(u.Server)
	if !open {
		return false
	}
	l := s.cfg.Legs.New(&r.Request, &m)
	l.Within(&u)
	s.each(ctx, r, []*leg.Leg{l}, func(ctx context.Context, l *leg.Leg) error { return l.Send(ctx, r.carried(l)) })
	return true
}
