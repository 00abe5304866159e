package request

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// listen relays the standalone GET stream of a session, or resumes a broken one (MCP 2025-03-26 to 2025-11-25).
func (h *Handler) listen(x *exchange) error {
	if err := x.headersOnly(); err != nil {
		return err
	}
	if x.several {
		return h.listenSeveral(x)
	}
	if _, elsewhere := h.cfg.Hop.OwnerOf(x.server, x.call.Session); elsewhere {
		return h.stay(x, func(context.Context) error {
			_, err := h.handOver(x)
			return err
		})
	}
	if x.call.Session != "" { // an event id opens nothing by itself: it belongs to a session, which is the caller's own
		x.call.LastEventID = x.in.Header.Get("Last-Event-Id")
	}
	h.trace(x)
	return h.lasting(x)
}

// subscribe relays a subscriptions/listen stream (MCP 2026-07-28).
func (h *Handler) subscribe(x *exchange) error {
	if !acceptsEvents(x.in.Header) {
		return eventsOnly()
	}
	return h.lasting(x)
}

func eventsOnly() error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: http.StatusNotAcceptable,
		Message: "subscriptions/listen is answered by an event stream only", Hint: "send Accept: application/json, text/event-stream"}
}

// stay holds a long-lived stream within the caller's share until either side or the drain ends it.
func (h *Handler) stay(x *exchange, run func(ctx context.Context) error) error {
	if err := h.streams.Acquire(x.principal.ID, x.table.Settings().StreamsPerPrincipal); err != nil {
		return err
	}
	defer h.streams.Release(x.principal.ID)
	x.permit.Release() // a stream counts among streams, not among requests in flight
	return h.watched(x, run)
}

// watched runs a long-lived stream until the caller, the drain, the credential or a change of the config ends its context.
func (h *Handler) watched(x *exchange, run func(ctx context.Context) error) error {
	open := h.cfg.Telemetry.Streams()
	open.Inc()
	defer open.Dec()
	ctx, cancel := context.WithCancelCause(x.ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.draining, func() { cancel(errDraining) })()
	defer h.watch.add(x, cancel)()
	if err := h.overtaken(x); err != nil {
		return err
	}
	x.ctx = ctx
	return run(ctx)
}

// lasting opens a long-lived stream to one server and relays it.
func (h *Handler) lasting(x *exchange) error {
	return h.stay(x, func(ctx context.Context) error {
		x.call.Stream = true
		if err := h.leave(x); err != nil {
			return err
		}
		a, err := h.cfg.Hop.Send(ctx, &x.call, &x.rec)
		if err != nil {
			return err
		}
		defer a.Close()
		switch {
		case a.Status/100 == 2 && a.Type == transport.SSE:
			return h.relayLasting(x, &a)
		case x.in.Method == http.MethodPost:
			return h.relay(x, &a)
		case a.Status/100 == 2:
			return x.notMCP(&a)
		}
		return h.refusedVerb(x, &a)
	})
}

// relayLasting relays a long-lived stream. When we end one that a request asked for (subscriptions/listen), the request is answered, so that
// the client knows the stream was not cut (2026-07-28, subscriptions: graceful end).
func (h *Handler) relayLasting(x *exchange, a *hop.Answer) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	answered := len(x.id()) == 0
	for {
		x.shed()
		err := x.next(a)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && x.in.Context.Err() != nil:
			return nil // the caller left: how such streams normally end
		case err != nil && drained(x.ctx):
			x.farewell(answered)
			return nil
		case err != nil:
			return x.cut(err, true)
		}
		if err := x.tailorLasting(); err != nil {
			return x.cut(err, true)
		}
		answered = answered || h.inspect(x, a.Status)
		if !x.isMCP() {
			continue
		}
		if err := h.pass(x); err != nil && x.in.Context.Err() == nil {
			return err
		}
	}
}

// shed lets go of what a stream doesn't need while it waits, which may be for hours. What stays is the caller's message, if there was one, and
// room for small events.
func (x *exchange) shed() {
	x.out, x.ans, x.data, x.worn, x.other = scant(x.out), scant(x.ans), scant(x.data), scant(x.worn), scant(x.other)
	if len(x.body) == 0 {
		x.body = scant(x.body)
	}
}

// scant is a buffer for small things, or none.
func scant(b []byte) []byte {
	if cap(b) > 1<<10 {
		return nil
	}
	return b[:0]
}

// farewell ends a stream on our own account.
func (x *exchange) farewell(answered bool) {
	if !answered {
		x.ans = message.AppendListenEnd(x.ans[:0], x.id())
		x.reply.Event(x.ans) //nolint:errcheck // the stream ends either way
	}
}

// opened closes the record of the stream's opening and begins the one of its end: a span of hours would be of no use in a trace.
func (h *Handler) opened(x *exchange) {
	r, t := &x.rec, h.cfg.Telemetry
	x.done("ok")
	t.Finish(r)
	opening, sampled := r.IDs, r.Sampled
	r.Start, r.AuthEnd, r.Read, r.Routed, r.End = r.End, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	r.Upstream, r.UpstreamStatus, r.Attempts, r.BytesIn = telemetry.Timing{}, 0, 0, 0
	r.Parent, r.State = [8]byte{}, ""
	t.Begin(r)
	r.Link, r.Sampled = telemetry.IDs{Trace: opening.Trace, Call: opening.Request}, sampled
	t.Step(r, telemetry.StepReply)
}

// closed makes the record of the stream's end a short one.
func (x *exchange) closed() {
	x.rec.End = time.Now()
	x.rec.Start = x.rec.End
}

// end closes a session (DELETE).
func (h *Handler) end(x *exchange) error {
	if err := x.headersOnly(); err != nil {
		return err
	}
	if x.several {
		return h.endSeveral(x)
	}
	if done, err := h.handOver(x); done {
		return err
	}
	h.trace(x)
	if err := h.leave(x); err != nil {
		return err
	}
	a, err := h.cfg.Hop.Send(x.ctx, &x.call, &x.rec)
	if err != nil {
		return err
	}
	defer a.Close()
	if a.Status/100 != 2 {
		return h.refusedVerb(x, &a)
	}
	x.done("ok")
	x.reply.Whole(a.Status, nil, nil)
	return nil
}

// headersOnly settles era, revision and session of a request without a message. A body has no meaning here; it is read away, because the
// front watches for the caller's leaving only behind it.
func (x *exchange) headersOnly() error {
	if x.in.Length != 0 {
		if n, err := io.CopyN(io.Discard, x.in.Body, small+1); n > small {
			return tooLarge(small)
		} else if !errors.Is(err, io.EOF) {
			return brokenBody(err)
		}
	}
	x.era = message.EraOf(x.in.Header, nil, &x.env)
	x.rec.Era = x.era.String()
	if err := message.CheckRevision(x.in.Header, x.era); err != nil {
		return err
	}
	x.call.Revision = x.in.Header.Get("Mcp-Protocol-Version")
	x.rec.Revision = x.call.Revision
	return x.openSession()
}

// refusedVerb passes on what a server says to GET or DELETE. 405 is how servers say that they offer no such stream: not a failure.
func (h *Handler) refusedVerb(x *exchange, a *hop.Answer) error {
	if a.Status != http.StatusMethodNotAllowed {
		return h.passOn(x, a, a.Refused(x.ans[:0], x.server.Name, x.call.Session != ""))
	}
	allow := a.Header.Get("Allow")
	if allow == "" {
		allow = http.MethodPost
	}
	x.reply.Sink.Header()["Allow"] = []string{allow}
	body, err := a.ReadAll(x.ans[:0], small)
	x.done("ok")
	if err == nil && a.Type == transport.JSON {
		x.reply.Whole(a.Status, reply.JSON(), body)
		return nil
	}
	x.reply.Whole(a.Status, nil, nil)
	return nil
}

// drained reports whether we ended a stream: because the data plane drains, or because its caller may not hold it any longer.
func drained(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errDraining) || errors.Is(cause, errRevoked)
}
