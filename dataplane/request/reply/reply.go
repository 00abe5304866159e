// Package reply is the only writer of answers to callers: results as the upstream sent them, faults in the caller's dialect, diagnostic
// headers, event streams.
//
// It promises that a body which can't be finished is aborted rather than closed as if complete, that diagnostics go only to admitted
// callers who asked, and that a quiet event stream is kept alive by comments. It refuses to name secrets, other servers' addresses or an
// internal cause.
package reply

import (
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Sink is where an answer goes: the small part of an HTTP response that stages need. Its methods are called one at a time.
type Sink interface {
	// Header is the answer's header map until WriteHeader. Values stay with the sink until the answer is out: never a pooled one.
	Header() http.Header
	// WriteHeader sends the status line and the headers.
	WriteHeader(status int)
	// Write appends to the body; p is not kept.
	Write(p []byte) (int, error)
	// Flush sends what is buffered.
	Flush() error
	// Abort makes the caller see an unfinished answer: nothing more is written, and the connection or stream breaks when the request ends.
	Abort()
}

// Reply is one answer under way. Its zero value with Sink and Record set is ready; Close ends it. One goroutine uses it.
type Reply struct {
	Sink   Sink
	Record *telemetry.Record
	Region string
	// KeepAlive is how long an event stream may be quiet before a comment goes out; 0: none does.
	KeepAlive time.Duration

	// Facts for diagnostic headers; set as they become known.
	InboundAuth string // masked credentials the caller sent, only when diagnostics were asked for
	Principal   *table.Principal
	Server      *table.Server // the one that is called; nil while several are
	Legs        *Legs         // of a request to several servers, made anew for each; nil: the endpoint is one server's, or nobody asked
	Resolution  string        // how the credential for the server was found; empty: it wants none
	Token       string        // the credential as this caller may see it; empty: none
	Origin      func() string // where the request came from and how we know; nil: nobody asked

	// Challenge of a 401; empty: that of a gateway which only takes keys.
	Challenge string

	started bool
	pulse   *pulse // of an event stream
	buf     []byte
}

// Ready-made header values: one allocation for all requests instead of one each.
var (
	typeJSON    = []string{"application/json"}
	typeSSE     = []string{"text/event-stream"}
	noStore     = []string{"no-store"}
	noTransform = []string{"no-cache, no-transform"}
	noBuffering = []string{"no"}
	challenge   = []string{`Bearer realm="hopgate"`}
)

// JSON is the content type of JSON answers, for Whole and Begin.
func JSON() []string { return typeJSON }

// Reset makes r ready for the next request, keeping its buffer.
func (r *Reply) Reset() { *r = Reply{buf: r.buf[:0]} }

// Close ends the answer: nothing is written after it, not even by a timer.
func (r *Reply) Close() {
	if r.pulse != nil {
		r.pulse.stop()
	}
}

// Started reports whether the head of the answer is out.
func (r *Reply) Started() bool { return r.started }

// Fault answers with a fault: before the head as an HTTP error with a JSON-RPC body, after it as a final event on an event stream, else by
// breaking the body off. id is the request's raw JSON-RPC id, empty when there is none to answer.
func (r *Reply) Fault(f *fault.Error, id []byte) {
	if r.started {
		r.late(f, id)
		return
	}
	h := r.Sink.Header()
	h["X-Hopgate-Error"] = []string{f.Header()}
	h["Cache-Control"] = noStore
	delete(h, "Mcp-Session-Id")
	switch {
	case r.Challenge != "":
		h["Www-Authenticate"] = []string{r.Challenge}
	case f.HTTPStatus() == http.StatusUnauthorized:
		h["Www-Authenticate"] = challenge
	}
	if f.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10)}
	}
	r.buf = f.AppendJSONRPC(r.buf[:0], id, r.place())
	r.Whole(f.HTTPStatus(), typeJSON, r.buf)
}

// late tells a fault after the head was sent.
func (r *Reply) late(f *fault.Error, id []byte) {
	if !r.Record.Streamed || len(id) == 0 {
		r.Abort()
		return
	}
	r.Sink.Header()[http.TrailerPrefix+"X-Hopgate-Error"] = []string{f.Header()}
	b := append(r.buf[:0], "event: message\ndata: "...)
	b = f.AppendJSONRPC(b, id, r.place())
	r.buf = append(b, "\n\n"...)
	r.Event(r.buf) //nolint:errcheck // the caller is gone or not; there is nobody else to tell
}

func (r *Reply) place() fault.Place {
	var b [32]byte
	hex.Encode(b[:], r.Record.IDs.Trace[:])
	return fault.Place{Region: r.Region, TraceID: string(b[:])}
}

// Whole sends a complete answer with its length. A nil contentType means no body type (202, 405 without body).
func (r *Reply) Whole(status int, contentType []string, body []byte) {
	length := int64(len(body))
	if length == 0 && (status == http.StatusAccepted || status == http.StatusNoContent) {
		length = -1 // 204 has none, and nobody misses that of 202
	}
	r.Begin(status, contentType, length)
	if len(body) > 0 {
		r.Piece(body) //nolint:errcheck // the caller is gone or not; there is nobody else to tell
	}
}

// Begin sends the head of an answer whose body follows in pieces. length -1: unknown.
func (r *Reply) Begin(status int, contentType []string, length int64) {
	h := r.Sink.Header()
	if contentType != nil {
		h["Content-Type"] = contentType
	}
	// One string and one slice hold both values: the head of every answer is made here.
	text := make([]byte, 32, 52)
	hex.Encode(text, r.Record.IDs.Trace[:])
	values := make([]string, 2)
	if length >= 0 {
		text = strconv.AppendInt(text, length, 10)
		h["Content-Length"] = values[1:2:2]
	}
	all := string(text)
	values[0], values[1] = all[:32], all[32:]
	h["X-Hopgate-Trace-Id"] = values[0:1:1]
	if r.Record.Debug {
		r.diagnose(h)
	}
	r.started = true
	r.Record.Status = status
	r.Sink.WriteHeader(status)
}

// Piece sends a part of a body begun with Begin.
func (r *Reply) Piece(p []byte) error {
	n, err := r.Sink.Write(p)
	r.Record.BytesOut += int64(n)
	return err
}

// Flush sends what is buffered of a body begun with Begin or Stream.
func (r *Reply) Flush() error {
	if r.pulse != nil {
		return r.pulse.flush()
	}
	return r.Sink.Flush()
}

// Stream sends the head of an event stream at once.
func (r *Reply) Stream() error {
	h := r.Sink.Header()
	h["Cache-Control"] = noTransform
	h["X-Accel-Buffering"] = noBuffering
	r.Record.Streamed = true
	r.Begin(http.StatusOK, typeSSE, -1)
	if err := r.Sink.Flush(); err != nil {
		return err
	}
	r.pulse = startPulse(r.Sink, r.KeepAlive)
	return nil
}

// Event sends one whole event and flushes it.
func (r *Reply) Event(event []byte) error {
	if r.pulse == nil {
		return http.ErrNotSupported
	}
	n, err := r.pulse.send(event)
	r.Record.BytesOut += int64(n)
	if err == nil {
		r.Record.Events++
	}
	return err
}

// Abort breaks the answer off.
func (r *Reply) Abort() {
	r.Close()
	r.Sink.Abort()
}
