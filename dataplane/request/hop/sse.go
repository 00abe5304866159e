package hop

import (
	"context"
	"net/http"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// Advertise says at which address other data planes reach this one: sessions of servers of transport sse live here, and their ids tell where.
// Call it before the first Send; without it nobody else finds them.
func (h *Hop) Advertise(address func() string) { h.owner = address }

func (h *Hop) address() string {
	if h.owner == nil {
		return ""
	}
	return h.owner()
}

// Close ends the sessions of servers of transport sse, and returns when what they needed has ended.
func (h *Hop) Close() { h.events.Close() }

// OwnerOf returns the address of the data plane that holds an upstream session, and whether it is another one than this. Calls in a session that
// is elsewhere must be made there; here they would be answered with 404. Only sessions of transport sse live in a data plane.
func (h *Hop) OwnerOf(s *table.Server, session string) (owner string, elsewhere bool) {
	if s.Transport != "sse" || session == "" {
		return "", false
	}
	return h.events.Elsewhere(session)
}

// sendOverStream is Send for servers of transport sse.
func (h *Hop) sendOverStream(ctx context.Context, c *Call, rec *telemetry.Record) (Answer, error) {
	rec.Transport = c.Server.Transport
	view := h.balance.Of(c.Server)
	limited := !c.Stream && view.Limited()
	if limited {
		if err := view.Enter(ctx, c.Instance, c.Principal); err != nil {
			return Answer{}, err
		}
	}
	before := rec.Upstream
	call := &sse.Call{Server: c.Server, Principal: c.Principal, Method: c.Method, Body: c.Body, Session: c.Session, EventLimit: c.Settings.Event, Timing: &rec.Upstream}
	a, err := h.events.Send(ctx, call, h.newWay(c, view))
	rec.Attempts = max(call.Attempts, 1)
	keepDial(&rec.Upstream, &before)
	if err != nil {
		if limited {
			view.Exit()
		}
		return Answer{}, named(err, c.Server.Name)
	}
	rec.UpstreamStatus = a.Status
	if a.Instance != 0 {
		c.Instance = a.Instance
	}
	out := Answer{Status: a.Status, Header: a.Header, Type: a.Type, Body: a.Body, session: a.Session}
	if limited {
		out.Body = &placed{Body: a.Body, exit: sync.OnceFunc(view.Exit)}
	}
	return out, nil
}

// placed is the body of a call that has a place until it is closed.
type placed struct {
	Body
	exit func()
}

// Close ends the exchange and gives its place back.
func (b *placed) Close() {
	b.Body.Close()
	b.exit()
}

// way makes the HTTP exchanges of one call to a server of transport sse. It holds nothing of the call that may change once Send has returned.
type way struct {
	hop    *Hop
	view   *balance.Server
	call   Call
	fields []byte // of a POST
	stream []byte // of the GET
}

func (h *Hop) newWay(c *Call, view *balance.Server) *way {
	w := &way{hop: h, view: view, call: *c}
	if c.Method != http.MethodPost {
		return w
	}
	out := *c
	out.Session, out.LastEventID = "", "" // ours: the server has another way to tell
	w.fields = h.appendFields(nil, &out)
	if c.Session == "" {
		out.Method = http.MethodGet
		w.stream = h.appendFields(nil, &out)
	}
	w.call.Body, w.call.Credential, w.call.Params = nil, nil, nil
	return w
}

// Get opens the stream of a session. Nothing is done by it, so that it may be tried again.
func (w *way) Get(ctx context.Context) (sse.Reply, error) {
	c := w.call
	c.Method, c.Stream, c.Repeatable = http.MethodGet, true, true
	return w.exchange(ctx, &c, nil, w.stream, nil)
}

// Post sends a message to the endpoint of a session.
func (w *way) Post(ctx context.Context, instance uint32, to *table.Target, body []byte) (sse.Reply, error) {
	c := w.call
	c.Instance, c.Stream = instance, false
	return w.exchange(ctx, &c, to, w.fields, body)
}

func (w *way) exchange(ctx context.Context, c *Call, to *table.Target, fields, body []byte) (sse.Reply, error) {
	rec := &telemetry.Record{}
	s := sending{hop: w.hop, ctx: ctx, call: c, rec: rec, view: w.view, to: to, req: transport.Request{
		Method: c.Method, Fields: fields, Body: body, Timeouts: c.Server.Timeouts, Stream: c.Stream,
		ResultLimit: c.Settings.Result, EventLimit: c.Settings.Event,
	}}
	a, lease, err := s.attempts()
	if rec.Attempts > 1 && !s.began.IsZero() {
		rec.Upstream.Start = s.began
	}
	if err != nil {
		return sse.Reply{Timing: rec.Upstream, Attempts: rec.Attempts}, named(err, c.Server.Name)
	}
	return sse.Reply{Status: a.Status, Header: a.Header, Type: a.Type, Body: a.Body, Timing: rec.Upstream, Attempts: rec.Attempts,
		Target: lease.Target, Done: lease.Release}, nil
}
