package request

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
)

// statusClientGone is what records show when the caller left first; nobody receives it (the word is nginx's).
const statusClientGone = 499

var errDraining = errors.New("the data plane is draining")

// refuse tells the caller what went wrong, unless the caller is the one who left.
func (h *Handler) refuse(x *exchange, err error) {
	f := fault.As(err)
	if f == nil {
		f = h.unnamed(x, err)
	}
	x.rec.Fault = f
	x.rec.End = time.Now()
	if x.server == nil {
		x.rec.Path = redact.Text(x.rec.Path) // it names no server that we know
	}
	if !x.adopted && x.principal != nil {
		h.adopt(x)
	}
	h.challenge(x, f)
	if x.in.Context.Err() != nil && x.reply.Started() {
		x.reply.Abort() // who only said that nothing more comes still reads, and must not take half an answer for a whole one
		return
	}
	x.reply.Fault(f, x.id())
}

// unnamed finds words for an error that no stage put into any: the caller left, the data plane drains, or the gateway has a defect.
func (h *Handler) unnamed(x *exchange, err error) *fault.Error {
	switch {
	case errors.Is(context.Cause(x.ctx), errRevoked):
		return fault.As(revoked(x))
	case drained(x.ctx):
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Server: x.rec.Server,
			Message: "this data plane is about to stop", Hint: "connect again: another one will answer", Err: err}
	case x.in.Context.Err() != nil || errors.Is(err, context.Canceled):
		return clientGone(x, err)
	}
	h.cfg.Log.Error("request failed without a named cause", "error", err, "path", x.rec.Path)
	return defect(x, err)
}

// recovered turns a panic of a stage into a fault of the gateway; the process and its other requests go on.
func (h *Handler) recovered(x *exchange) {
	p := recover()
	if p == nil {
		return
	}
	h.cfg.Log.Error("a request made the gateway panic", "panic", p, "path", x.rec.Path, "stack", string(debug.Stack()))
	x.rec.Fault, x.rec.End = defect(x, nil), time.Now()
	x.reply.Fault(x.rec.Fault, x.id())
}

// Panicked is the fault of work that was done for a request outside of Serve, and told to the log; p is what was recovered.
func (h *Handler) Panicked(p any, path string) *fault.Error {
	h.cfg.Log.Error("a request made the gateway panic", "panic", p, "path", path, "stack", string(debug.Stack()))
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal,
		Message: "the gateway failed to answer", Hint: "this is a defect of the gateway: report it with the trace id"}
}

func defect(x *exchange, err error) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Server: x.rec.Server,
		Message: "the gateway failed to answer", Hint: "this is a defect of the gateway: report it with the trace id", Err: err}
}

func clientGone(x *exchange, err error) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Stream, Kind: fault.Reset, Remote: true, Status: statusClientGone, Server: x.rec.Server,
		Message: "the caller closed the connection before the answer was complete", Err: err}
}

// wrongMethod refuses a method the endpoint doesn't have.
func (x *exchange) wrongMethod(allow string) error {
	x.reply.Sink.Header()["Allow"] = []string{allow}
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: http.StatusMethodNotAllowed,
		Message: "this endpoint doesn't take that method", Hint: "use " + allow}
}

func noSuchPath(path string) error {
	if len(path) > 100 {
		path = path[:100]
	}
	return &fault.Error{Hop: fault.Client, Phase: fault.Route, Kind: fault.NotFound,
		Message: "there is nothing at " + path, Hint: "MCP servers are at /{server}/mcp and /mcp/{server}"}
}

func noConfig() error {
	return &fault.Error{Hop: fault.Control, Phase: fault.Config, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable,
		Message: "this data plane has received no config yet", Hint: "look at its /readyz and at `hopgate status`"}
}

// yes reads a header that is a switch.
func yes(values []string) bool {
	if len(values) == 0 {
		return false
	}
	switch v := values[0]; len(v) {
	case 1:
		return v == "1"
	case 3:
		return strings.EqualFold(v, "yes")
	case 4:
		return strings.EqualFold(v, "true")
	}
	return false
}
