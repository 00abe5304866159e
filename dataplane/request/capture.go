package request

import (
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// Captured is a sink that keeps the answer of one message within the handler's budget, so that it can be told in another form. Events of a
// stream aren't kept but handed on as they come. Release it.
type Captured struct {
	// Head is told the head of the answer before anything else of it; nil: nobody asks.
	Head func(status int, h http.Header)
	// Event gets each whole event of a stream; it may not keep it. nil: streams are kept like bodies.
	Event func(event []byte) error

	h      *Handler
	left   *atomic.Int64 // bytes that may still be kept
	header http.Header
	status int
	body   []byte
	held   int64
	stream bool
	broken bool
	fault  *fault.Error // why it wasn't kept
}

// Capture makes a sink that keeps up to the bytes in left, which several may share.
func (h *Handler) Capture(left *atomic.Int64) *Captured {
	return &Captured{h: h, left: left, header: make(http.Header, 8)}
}

// Status is that of the answer; 0: there is none.
func (c *Captured) Status() int { return c.status }

// Body is what was kept; valid until Release.
func (c *Captured) Body() []byte { return c.body }

// Streamed reports whether the answer came as events that were handed on. Whole: as far as anybody can tell it is complete.
func (c *Captured) Streamed() (streamed, whole bool) { return c.stream, !c.broken }

// Release gives back what is held.
func (c *Captured) Release() {
	c.left.Add(int64(len(c.body)))
	c.h.held.Add(-c.held)
	c.body, c.held = nil, 0
}

// Header is the answer's header map.
func (c *Captured) Header() http.Header { return c.header }

// WriteHeader notes the head.
func (c *Captured) WriteHeader(status int) {
	c.status = status
	c.stream = c.Event != nil && status == http.StatusOK && first(c.header["Content-Type"]) == "text/event-stream"
	if c.Head != nil {
		c.Head(status, c.header)
	}
}

// comment is how a quiet stream is kept alive; whoever tells the events on has comments of his own.
const comment = ": keep-alive\n"

// Write keeps a piece of the body, or hands an event on.
func (c *Captured) Write(p []byte) (int, error) {
	switch {
	case c.broken:
		return 0, http.ErrAbortHandler
	case c.stream && string(p) == comment:
		return len(p), nil
	case c.stream:
		if err := c.Event(p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	if c.fault = c.room(len(p)); c.fault != nil {
		c.broken = true
		return 0, c.fault
	}
	c.body = append(c.body, p...)
	return len(p), nil
}

// room makes place for n more bytes.
func (c *Captured) room(n int) *fault.Error {
	if c.left.Add(-int64(n)) < 0 {
		c.left.Add(int64(n))
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.TooLarge,
			Message: "the answers are larger than the limit", Hint: "ask for less at a time, or raise spec.limits.result in Settings"}
	}
	need := len(c.body) + n
	if need <= cap(c.body) {
		return nil
	}
	size := max(need, 2*cap(c.body))
	if more := int64(size-small) - c.held; more > 0 {
		if c.h.held.Add(more) > c.h.cfg.HeldBytes {
			c.h.held.Add(-more)
			c.left.Add(int64(n))
			return fault.As(crowded())
		}
		c.held += more
	}
	c.body = slices.Grow(c.body, size-len(c.body))
	return nil
}

// Flush has nothing to do.
func (c *Captured) Flush() error { return nil }

// Abort notes that the answer isn't complete.
func (c *Captured) Abort() { c.broken = true }

// Answer is the JSON-RPC response to the request with a raw id: what was kept, or an error that says why there is none.
func (c *Captured) Answer(id []byte) []byte {
	if !c.broken && len(c.body) > 0 {
		if ok, _ := message.Answers(c.body, id); ok {
			return c.body
		}
		var e message.Envelope
		if message.IsError(c.body) && message.Scan(c.body, message.MaxDepth, &e) == nil && e.ID.Present() {
			return slices.Concat(c.body[:e.ID.Start], orNull(id), c.body[e.ID.End:])
		}
	}
	f := c.fault
	if f == nil {
		f = &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.Reset, Message: "the answer ended before it was complete"}
	}
	return f.AppendJSONRPC(nil, id, fault.Place{Region: c.h.cfg.Region, TraceID: first(c.header["X-Hopgate-Trace-Id"])})
}

func orNull(id []byte) []byte {
	if len(id) == 0 {
		return []byte("null")
	}
	return id
}
