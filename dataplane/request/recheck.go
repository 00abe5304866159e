package request

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

var errRevoked = errors.New("the caller may not hold this stream any longer")

// lasting are the open long-lived streams. They outlive configs, so each is judged again when the config changes: a revoked key, a lost
// grant or a closed address range ends it. The zero value is ready; safe for concurrent use.
type lasting struct {
	mu   sync.Mutex
	open map[*exchange]*stay // guarded by mu
}

// stay is one stream's leave to remain. Guarded by lasting.mu.
type stay struct {
	cancel context.CancelCauseFunc
	ends   time.Time // of the credential; zero: never
	timer  *time.Timer
}

// until ends the stream with the credential that holds it.
func (s *stay) until(ends time.Time) {
	if ends.Equal(s.ends) {
		return
	}
	s.stop()
	if s.ends = ends; !ends.IsZero() {
		s.timer = time.AfterFunc(time.Until(ends), func() { s.cancel(errRevoked) })
	}
}

func (s *stay) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// add notes a stream until the returned function is called; it also ends with the credential that opened it.
func (l *lasting) add(x *exchange, cancel context.CancelCauseFunc) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*exchange]*stay{}
	}
	s := &stay{cancel: cancel}
	s.until(x.admission.Expires)
	l.open[x] = s
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.stop()
		delete(l.open, x)
	}
}

// Recheck judges every open long-lived stream by the config in force and ends those that wouldn't be opened any more, in the order proper
// for their kind, so that their clients come back and are told why. Its cost grows with the number of open streams.
func (h *Handler) Recheck() {
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	t := h.cfg.Table.Load()
	for x, s := range h.watch.open {
		ends, err := h.judge(x, t)
		if err != nil {
			s.cancel(errRevoked)
			continue
		}
		s.until(ends)
	}
}

// overtaken judges a stream that has just been noted, if the config has changed since its request began: Recheck may have come before it,
// and a caller decides how long its request takes to arrive.
func (h *Handler) overtaken(x *exchange) error {
	t := h.cfg.Table.Load()
	if t == x.table {
		return nil
	}
	_, err := h.judge(x, t)
	return err
}

// noWait is over already: admission under it uses what is known and fetches nothing.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// judge tells why the stream of x wouldn't be opened under t; ends is when its credential does. It only reads what the stream's own
// goroutine has settled.
func (h *Handler) judge(x *exchange, t *table.Table) (ends time.Time, err error) {
	place := origin.Request{Remote: x.in.Remote, Host: x.in.Host, Secure: x.in.Secure, Header: x.in.Header}
	from := h.cfg.Listener.Settle(&place, t.Ingress())
	a, err := h.cfg.Gate.Admit(noWait, t, x.in.Header, x.in.Names)
	if err != nil {
		return ends, err
	}
	if x.several {
		place := route.Place{Region: h.cfg.Region, Internal: from.Internal, Client: from.Client}
		return a.Expires, x.judgeSeveral(t, a.Principal, place)
	}
	s, access, err := route.Match(t, a.Principal, x.door.Name, h.cfg.Region, from.Internal, from.Client)
	switch {
	case err != nil:
		return ends, err
	case a.Principal.ID != x.principal.ID, s.UID != x.server.UID, // somebody else, or another server of that name
		!access.Free() && x.access.Free(): // a caller that has become restricted must not go on with an unfiltered stream
		return ends, revoked(x)
	}
	return a.Expires, nil
}

// judgeSeveral tells why the merged stream of x wouldn't be opened under t: somebody else calls, or one of the servers isn't the same one, open
// to the caller as it was.
func (x *exchange) judgeSeveral(t *table.Table, p *table.Principal, place route.Place) error {
	if p.ID != x.principal.ID {
		return revoked(x)
	}
	scope, err := route.Several(t, p, x.door, x.in.Header["X-Mcp-Servers"], place)
	if err != nil {
		return err
	}
	for i := range x.hears {
		was := &x.hears[i]
		m, ok := scope.Member(was.Server.Name)
		if !ok || m.Server.UID != was.Server.UID || was.Access.Free() && !m.Access.Free() || m.Access.ToolsOnly() && !was.Access.ToolsOnly() {
			return revoked(x)
		}
	}
	return nil
}

func revoked(x *exchange) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Denied, Status: http.StatusForbidden, Server: x.rec.Server,
		Message: "the config has changed, and this caller may not hold this stream as it was asked for", Hint: "send the request again", Err: errRevoked}
}
