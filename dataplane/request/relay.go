package request

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
)

// relay brings the answer of a POST to the caller, byte for byte.
func (h *Handler) relay(x *exchange, a *hop.Answer) error {
	switch {
	case a.Status/100 != 2:
		return h.passOn(x, a, a.Refused(x.ans[:0], x.server.Name, x.call.Session != ""))
	case a.Type == transport.HTML:
		return x.notMCP(a)
	case x.env.Kind != message.Request:
		return x.accepted()
	}
	if x.rec.Method == "initialize" {
		if id := a.Session(); id != "" {
			if err := x.sealSession(id); err != nil {
				return err
			}
		}
	}
	switch {
	case a.Type == transport.JSON:
		return h.relayJSON(x, a)
	case a.Type != transport.SSE:
		return x.notMCP(a)
	case acceptsEvents(x.in.Header):
		return h.relayEvents(x, a)
	}
	return h.collapse(x, a)
}

// accepted answers a notification or a response: 202 without a body, also where a server says 200.
func (x *exchange) accepted() error {
	x.done("ok")
	x.reply.Whole(http.StatusAccepted, nil, nil)
	return nil
}

// notMCP looks at what came for the fault's words.
func (x *exchange) notMCP(a *hop.Answer) error {
	body, _ := a.ReadAll(x.ans[:0], small) //nolint:errcheck // half a page tells as much
	return a.NotMCP(x.server.Name, body)
}

// heldForDiagnostics is up to where a JSON answer is held until complete for a caller who asked for diagnostics: faults and timings are then
// known before the head goes out.
const heldForDiagnostics = 1 << 20

// relayJSON brings a JSON answer: whole when it is small, else piece by piece.
func (h *Handler) relayJSON(x *exchange, a *hop.Answer) error {
	limit := small
	if x.sieving() {
		return h.relaySieved(x, a)
	}
	if x.dressed() {
		return h.relayDressed(x, a)
	}
	if x.rec.Debug && h.hold(x, heldForDiagnostics) {
		limit = heldForDiagnostics
	}
	complete, err := x.readAnswer(a, limit)
	switch {
	case err != nil:
		return x.named(err)
	case !complete:
		return h.relayLarge(x, a)
	}
	return h.relayWhole(x, a)
}

// relayWhole brings the JSON answer in x.ans.
func (h *Handler) relayWhole(x *exchange, a *hop.Answer) error {
	answers, outcome := message.Answers(x.ans, x.id())
	if !answers && !message.IsError(x.ans) {
		return a.NotMCP(x.server.Name, x.ans)
	}
	h.learn(x, a.Status, x.ans)
	x.done(outcome)
	x.reply.Whole(a.Status, reply.JSON(), x.ans)
	return nil
}

// readAnswer reads the answer, or its first limit bytes, into x.ans.
func (x *exchange) readAnswer(a *hop.Answer, limit int) (complete bool, err error) {
	if n := a.Length(); n >= 0 && n <= int64(limit) {
		x.ans, err = a.ReadAll(x.ans[:0], int64(limit))
		return true, err
	}
	x.ans = x.ans[:0]
	for len(x.ans) < limit {
		if len(x.ans) == cap(x.ans) {
			x.ans = slices.Grow(x.ans, max(4<<10, len(x.ans)))
		}
		n, err := a.Read(x.ans[len(x.ans):min(cap(x.ans), limit)])
		x.ans = x.ans[:len(x.ans)+n]
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// relayLarge streams an answer whose beginning is in x.ans. After the head is out, a failure breaks the body off. How the call went stays
// unknown: nobody looks into a large result.
func (h *Handler) relayLarge(x *exchange, a *hop.Answer) error {
	limit, total := x.table.Settings().Result, int64(0)
	switch {
	case !message.MayBeMessage(x.ans):
		return a.NotMCP(x.server.Name, x.ans)
	case a.Length() > limit:
		return x.resultTooLarge()
	}
	x.reply.Begin(a.Status, reply.JSON(), a.Length())
	for {
		if total += int64(len(x.ans)); total > limit {
			return x.resultTooLarge()
		}
		if err := x.reply.Piece(x.ans); err != nil {
			return clientGone(x, err)
		}
		n, err := a.Read(x.ans[:cap(x.ans)])
		x.ans = x.ans[:n]
		if n == 0 && errors.Is(err, io.EOF) {
			x.done("")
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return x.named(err)
		}
	}
}

func (x *exchange) resultTooLarge() error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TooLarge, Server: x.server.Name,
		Message: "the answer of " + x.server.Name + " is larger than the limit", Hint: "raise spec.limits.result in Settings"}
}

// passOn tells the caller of an upstream's refusal: its own JSON-RPC error verbatim, or our fault.
func (h *Handler) passOn(x *exchange, a *hop.Answer, r *hop.Refusal) error {
	h.disbelieved(x, a.Status)
	h.learn(x, r.Status, r.Body)
	if x.bare() {
		h.cfg.Hop.Forget(&x.call)
	}
	head := x.reply.Sink.Header()
	if v := a.Header.Get("Retry-After"); isDelay(v) {
		head["Retry-After"] = []string{v}
	}
	if r.Body = x.own(r.Body); len(r.Body) == 0 {
		return r.Fault
	}
	x.rec.Fault = r.Fault
	_, outcome := message.Answers(r.Body, x.id())
	x.done(outcome)
	head["X-Hopgate-Error"] = []string{r.Fault.Header()}
	x.reply.Whole(r.Status, reply.JSON(), r.Body)
	return nil
}

// isDelay reports whether v is what Retry-After may be (RFC 9110 section 10.2.3): seconds or a date. Anything else an upstream could put a
// credential of ours into.
func isDelay(v string) bool {
	if _, err := strconv.ParseUint(v, 10, 32); err == nil {
		return true
	}
	_, err := http.ParseTime(v)
	return err == nil
}

// learn takes the answers to the two probes as evidence of the server's era.
func (h *Handler) learn(x *exchange, status int, body []byte) {
	switch x.rec.Method {
	case "initialize", "server/discover":
		h.cfg.Hop.Learn(x.server, x.rec.Method, status, body, x.now)
	}
}
