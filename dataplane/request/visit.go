package request

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Visit is a request that was let in, found its endpoint, and is answered by somebody else than the MCP stages: another face of the gateway.
// It is valid until the function that got it returns. Unless a method says otherwise, one goroutine uses it at a time.
type Visit struct {
	h *Handler
	x *exchange
}

// Admit lets one request in as Serve does (where it came from, which page sent it, who is calling, which endpoint it is for) and leaves the
// answer to then. An error of either is told to the caller as any other fault is, and the request has its record.
func (h *Handler) Admit(in *Inbound, sink reply.Sink, then func(v *Visit) error) {
	h.within(in, sink, func(h *Handler, x *exchange) error {
		if done, err := h.arrive(x); done || err != nil {
			return err
		}
		if err := h.matchBehind(x); err != nil {
			return err
		}
		return then(&Visit{h: h, x: x})
	})
}

// Refuse answers a request with a fault, and makes its record.
func (h *Handler) Refuse(in *Inbound, sink reply.Sink, err error) {
	h.within(in, sink, func(h *Handler, x *exchange) error {
		x.table = h.cfg.Table.Load()
		return err
	})
}

// matchBehind is match for the MCP endpoint behind another face's door, if there is one.
func (h *Handler) matchBehind(x *exchange) error {
	h.adopt(x)
	switch x.door = x.door.Behind(); x.door.Kind {
	case endpoint.Server, endpoint.Aggregate, endpoint.List, endpoint.Toolset:
		return h.match(x)
	}
	return nil
}

// Context ends when the caller is gone, and within Lasting when the stream should end.
func (v *Visit) Context() context.Context { return v.x.ctx }

// Principal is the id of who is calling.
func (v *Visit) Principal() string { return v.x.principal.ID }

// Table is the config that the request sees.
func (v *Visit) Table() *table.Table { return v.x.table }

// Door is the MCP endpoint that the request is about.
func (v *Visit) Door() endpoint.Endpoint { return v.x.door }

// Header is that of the answer until it begins.
func (v *Visit) Header() http.Header { return v.x.reply.Sink.Header() }

// WrongMethod refuses a method that the endpoint doesn't have.
func (v *Visit) WrongMethod(allow string) error { return v.x.wrongMethod(allow) }

// Answer sends a complete answer; a nil contentType means no body type.
func (v *Visit) Answer(status int, contentType []string, body []byte) {
	outcome := "ok"
	if status >= http.StatusBadRequest {
		outcome = "" // the request that was made for this one has its own record
	}
	v.x.done(outcome)
	v.x.reply.Whole(status, contentType, body)
}

// Body reads the body, within its limit and unpacked. What it holds of the common budget is given back with release, which may be called after
// the visit, from any goroutine. The slice is the caller's.
func (v *Visit) Body() (body []byte, release func(), err error) {
	x, h := v.x, v.h
	if err := checkType(x.in.Header); err != nil {
		return nil, nil, err
	}
	if err := h.readBody(x); err != nil {
		return nil, nil, err
	}
	x.rec.BytesIn = int64(len(x.body))
	n := x.held
	body, x.body, x.held = x.body, nil, 0
	return body, sync.OnceFunc(func() { h.held.Add(-n) }), nil
}

// Lasting opens an event stream and keeps it while stay runs. The context ends with the caller, the drain, the credential, or when a change of
// the config wouldn't let the stream be opened any more. Events may be sent from any goroutine until stay returns, by one at a time.
func (v *Visit) Lasting(stay func(ctx context.Context) error) error {
	x, h := v.x, v.h
	return h.watched(x, func(ctx context.Context) error {
		if err := x.reply.Stream(); err != nil {
			return clientGone(x, err)
		}
		h.opened(x)
		defer x.closed()
		return stay(ctx)
	})
}

// Draining reports whether a stream that Lasting opened should end because the data plane drains, and for no other reason.
func (v *Visit) Draining() bool { return errors.Is(context.Cause(v.x.ctx), errDraining) }

// Event sends one whole event of a stream that Lasting opened.
func (v *Visit) Event(event []byte) error { return v.x.reply.Event(event) }

// Sink is a way to answer with what another data plane says. The request's record and trace id are this one's.
func (v *Visit) Sink() reply.Sink { return visitSink{v.x} }

// visitSink writes an answer through the request's reply.
type visitSink struct{ x *exchange }

func (s visitSink) Header() http.Header { return s.x.reply.Sink.Header() }

func (s visitSink) WriteHeader(status int) {
	s.x.done("")
	s.x.reply.Begin(status, nil, -1)
}

func (s visitSink) Write(p []byte) (int, error) {
	if err := s.x.reply.Piece(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s visitSink) Flush() error { return s.x.reply.Flush() }
func (s visitSink) Abort()       { s.x.reply.Abort() }

// Gone is a session that isn't held (any more): 404 and -32001, on which clients begin anew.
func Gone(msg, hint string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.NotFound, Status: http.StatusNotFound, Code: fault.CodeSession,
		Message: "Session not found: " + msg, Hint: hint}
}
