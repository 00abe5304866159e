package request

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// mostApart bounds the calls in sessions of their own that can be cancelled. Those beyond run to their end.
const mostApart = 10_000

// apartCalls are the calls in flight that run in sessions of their own, which no sealed session names, so that a cancellation finds them on this
// data plane. The zero value holds none; safe for concurrent use.
type apartCalls struct {
	n     atomic.Int64
	mu    sync.Mutex
	calls map[apartCall]*session.Upstream // guarded by mu
}

// apartCall names a call as its caller does.
type apartCall struct {
	principal, session, id string
}

// add notes the call of x, which has its session, until the returned function is called.
func (a *apartCalls) add(x *exchange) (remove func()) {
	if !x.alone || !x.several || x.rec.Session == "" || x.call.Session == "" || len(x.id()) == 0 {
		return func() {}
	}
	key := apartCall{x.principal.ID, x.rec.Session, string(x.id())}
	u := &session.Upstream{Server: x.server.Name, Instance: x.call.Instance, ID: x.call.Session, Revision: x.call.Revision}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.calls) >= mostApart {
		return func() {}
	}
	if a.calls == nil {
		a.calls = map[apartCall]*session.Upstream{}
	}
	a.calls[key] = u
	a.n.Store(int64(len(a.calls)))
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.calls[key] == u {
			delete(a.calls, key)
			a.n.Store(int64(len(a.calls)))
		}
	}
}

// of returns the session in which the request runs that the notification in x is about.
func (a *apartCalls) of(x *exchange) (u session.Upstream, ok bool) {
	if x.rec.Session == "" || a.n.Load() == 0 {
		return u, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	held, ok := a.calls[apartCall{x.principal.ID, x.rec.Session, string(x.env.CancelID.Of(x.body))}]
	if ok {
		u = *held
	}
	return u, ok
}

// cancelApart passes a cancellation into the session of the one call that it is about.
func (h *Handler) cancelApart(x *exchange) (found bool) {
	u, ok := h.apart.of(x)
	if !ok || x.rec.Method != "notifications/cancelled" || x.era != message.Legacy {
		return false
	}
	m, open := x.scope.Member(u.Server)
	if !open {
		return false
	}
	l := h.newLeg(x, &m)
	l.live, l.call.Session, l.call.Instance, l.call.Revision = true, u.ID, u.Instance, u.Revision
	h.each(x, []*leg{l}, func(ctx context.Context, l *leg) error { return l.send(ctx, x.carried(l)) })
	return true
}
