package request

import (
	"net/http"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// post carries one JSON-RPC message to the server, or to several, and the answer back.
func (h *Handler) post(x *exchange) error {
	if err := h.read(x); err != nil {
		return err
	}
	if x.env.Kind == message.Batch {
		return h.batch(x)
	}
	if err := x.speak(); err != nil {
		return err
	}
	if err := x.openSession(); err != nil {
		return err
	}
	if x.several {
		return h.postSeveral(x)
	}
	if done, err := h.handOver(x); done {
		return err
	}
	if err := h.reshape(x); err != nil {
		return err
	}
	return h.forward(x)
}

// forward carries a message that is in the server's own names to it.
func (h *Handler) forward(x *exchange) error {
	if err := h.permit(x); err != nil {
		return err
	}
	if err := h.hints(x); err != nil {
		return err
	}
	if err := h.cfg.Hop.Mixed(x.server, x.era, x.rec.Method, x.rec.Revision, x.now); err != nil {
		return err
	}
	h.trace(x)
	x.out = message.Splice(x.out[:0], x.body, &x.env, x.call.Traceparent, x.call.Tracestate)
	x.call.Body = x.out
	if x.era == message.Modern && x.rec.Method == "subscriptions/listen" {
		return h.subscribe(x)
	}
	if err := h.leave(x); err != nil {
		return err
	}
	if x.bare() {
		return h.oneShot(x)
	}
	return h.exchange(x)
}

// exchange sends the call and relays its answer.
func (h *Handler) exchange(x *exchange) error {
	a, err := h.cfg.Hop.Send(x.ctx, &x.call, &x.rec)
	if err != nil && hop.SessionLost(err) && x.lost(http.StatusNotFound) { // the instance isn't one of the server any more
		return h.anew(x)
	}
	if err != nil {
		return err
	}
	if x.lost(a.Status) {
		r := a.Refused(x.ans[:0], x.server.Name, true)
		a.Close() // it counts until then
		if hop.SessionLost(r.Fault) {
			return h.anew(x)
		}
		r.Status = http.StatusOK // the caller would take 404 for the end of all sessions
		return h.passOn(x, &a, r)
	}
	defer a.Close()
	return h.relay(x, &a)
}

// oneShot makes the call within a session of its own if the server wants one. The caller has the answer before the session is ended.
func (h *Handler) oneShot(x *exchange) error {
	if err := h.cfg.Hop.OneShot(x.ctx, &x.call, &x.rec, x.now); err != nil {
		if f := fault.As(err); f != nil && f.Hop == fault.Upstream {
			h.disbelieved(x, f.UpstreamStatus)
		}
		return err
	}
	defer h.cfg.Hop.Goodbye(x.ctx, &x.call)
	defer h.cancellable(x)()
	if err := h.exchange(x); err != nil {
		h.refuse(x, err)
	}
	x.reply.Flush() //nolint:errcheck // the caller is gone or not; the session is ended either way
	return nil
}

// leave marks the moment the request is settled here and turns to the upstream, after a last look at what is about to leave.
func (h *Handler) leave(x *exchange) error {
	if err := h.leaks(x); err != nil {
		return err
	}
	if err := h.bind(x); err != nil {
		return err
	}
	x.rec.Routed = time.Now()
	h.cfg.Telemetry.Step(&x.rec, telemetry.StepUpstream)
	return nil
}

// named puts the server into a fault, if the request is about one.
func (x *exchange) named(err error) error {
	if x.server == nil {
		return err
	}
	return hop.OfServer(err, x.server.Name)
}

// trace takes the caller's trace context in and prepares ours for the way out.
func (h *Handler) trace(x *exchange) {
	h.adopt(x)
	x.tp = telemetry.AppendTraceparent(x.tp[:0], &x.rec.IDs, x.rec.Sampled)
	x.call.Traceparent, x.call.Tracestate = string(x.tp), x.rec.State
}

func (h *Handler) adopt(x *exchange) {
	x.adopted = true
	meta := x.env.TraceparentString(x.body)
	header := first(x.in.Header["Traceparent"])
	if meta == "" && header == "" {
		return
	}
	state := x.env.TracestateString(x.body)
	if meta == "" {
		state = strings.Join(x.in.Header["Tracestate"], ",")
	}
	h.cfg.Telemetry.Adopt(&x.rec, meta, header, state, x.principal.TrustTrace)
}

// bare reports whether this is a call of somebody without a client: no session, no revision, no _meta, like curl; or one through an endpoint of
// several servers whose session holds none of this one.
func (x *exchange) bare() bool {
	return x.alone || x.env.Kind == message.Request && x.era == message.Legacy && x.call.Session == "" && x.call.Revision == "" &&
		x.rec.Method != "initialize"
}
