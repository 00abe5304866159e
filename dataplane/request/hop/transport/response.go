package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Response is one answer. One goroutine uses it at a time; it must be closed.
type Response struct {
	// Status is the HTTP status, 200 to 599.
	Status int
	// Header holds the answer's fields.
	Header Header

	ctx  context.Context // of the call: it ends it at any step
	tm   *telemetry.Timing
	pool *pool
	c    *conn       // nil after Close
	stop func() bool // ends the watch over ctx; nil when there is none

	total                   time.Time     // end of the total limit; zero: none
	idle                    time.Duration // longest wait for a part of the body; zero: none
	resultLimit, eventLimit int64

	ctype    ContentType
	stream   bool // long-lived: it may be quiet for hours
	bodyless bool // answer to HEAD
	encoded  bool // in a content coding nobody asked for
	inBody   bool // the head is read
	keep     bool // the connection may be used again once the body is read
	dry      bool // don't touch the socket any more
	chunked  bool
	finished bool  // the last chunk and the trailer are read
	tail     bool  // the CRLF behind a chunk's data is due
	skipLF   bool  // an event ended with CR: a LF right behind it belongs to it
	begun    bool  // the first event has been delivered
	length   int64 // of the body; -1: not known
	left     int64 // of the body, or of the chunk; -1: until the end of the connection
	read     int64 // by Read

	stalled  bool  // the peer stopped taking the request and said nothing
	sendErr  error // the request didn't leave completely
	firstErr error // the wait for the first byte failed while a large request was sent
	err      error // why no more of the body comes: io.EOF, a fault or the context's end

	rawStore   [384]byte // most heads fit, so that an answer is one allocation
	fieldStore [16]field
}

var (
	errLongLine = errors.New("transport: line too long")
	errDry      = errors.New("transport: nothing more is buffered")
	errClosed   = errors.New("transport: the response is closed")
)

func newResponse(ctx context.Context, q *Request, tm *telemetry.Timing) *Response {
	r := &Response{ctx: ctx, tm: tm, keep: true, bodyless: q.Method == http.MethodHead, resultLimit: q.ResultLimit, eventLimit: q.EventLimit}
	if r.stream = q.Stream; r.stream {
		return r
	}
	r.idle = q.Timeouts.Idle
	if q.Timeouts.Total > 0 {
		r.total = tm.Start.Add(q.Timeouts.Total)
	}
	return r
}

// by is the deadline of a step that begins now, within the total limit; zero: none.
func (r *Response) by(now time.Time, step time.Duration) time.Time {
	if step <= 0 {
		return r.total
	}
	t := now.Add(step)
	if !r.total.IsZero() && r.total.Before(t) {
		return r.total
	}
	return t
}

// attach gives the call a connection; from here on the end of ctx severs it.
func (r *Response) attach(p *pool, c *conn) {
	r.pool, r.c = p, c
	if r.ctx.Done() != nil {
		r.stop = context.AfterFunc(r.ctx, c.sever)
	}
}

// detach takes the connection away from the call; ok is false when ctx may have severed it.
func (r *Response) detach() (c *conn, ok bool) {
	c, r.c = r.c, nil
	ok = r.stop == nil || r.stop()
	r.stop = nil
	return c, ok
}

// drop ends the call's connection, if it has one.
func (r *Response) drop() {
	if r.c == nil {
		return
	}
	c, _ := r.detach()
	c.abort()
}

// ContentType returns the kind of the body.
func (r *Response) ContentType() ContentType { return r.ctype }

// Length returns the length of the body in bytes, -1 when only its end will tell.
func (r *Response) Length() int64 { return r.length }

// Close ends the call. The connection goes back to the pool when the whole body was read, or its rest is already here; else it is
// closed. Reading afterwards fails; a second Close does nothing.
func (r *Response) Close() {
	if r.c == nil {
		return
	}
	whole := r.keep && r.drained()
	if r.tm.End.IsZero() {
		r.tm.End = time.Now()
	}
	now, p := r.tm.End, r.pool
	c, ok := r.detach()
	r.err, r.tm = errClosed, nil
	if !whole || !ok || c.r != c.w {
		c.abort()
		return
	}
	p.put(c, now)
}

// drained skips what is buffered of the body and reports whether that was all.
func (r *Response) drained() bool {
	r.dry = true
	for {
		w, err := r.window()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		r.use(len(w))
	}
}

// Read reads the next bytes of the body; more than Request.ResultLimit of them is a fault of kind too_large.
func (r *Response) Read(p []byte) (int, error) {
	n, err := r.readSome(p)
	r.read += int64(n)
	if r.resultLimit > 0 && r.read > r.resultLimit {
		r.err, r.keep = r.resultTooLarge(), false
		return 0, r.err
	}
	return n, err
}

func (r *Response) readSome(p []byte) (int, error) {
	if len(p) >= bufferSize && r.bulky() {
		if r.left > 0 {
			p = p[:min(int64(len(p)), r.left)]
		}
		return r.direct(p)
	}
	w, err := r.window()
	if err != nil {
		return 0, err
	}
	n := copy(p, w)
	r.use(n)
	return n, nil
}

// firstGrowth bounds what an announced length makes us allocate before the bytes are there.
const firstGrowth = 1 << 20

// ReadAll appends the whole body to dst. A body above limit (zero: Request.ResultLimit) is a fault of kind too_large. With an error it
// returns what came until then.
func (r *Response) ReadAll(dst []byte, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = r.resultLimit
	}
	if limit <= 0 {
		limit = 1<<63 - 1
	}
	if r.length > limit {
		return dst, r.end(r.resultTooLarge())
	}
	if r.length > 0 {
		dst = slices.Grow(dst, int(min(r.length, firstGrowth)))
	}
	for {
		w, err := r.window()
		switch {
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		case int64(len(w)) > limit || r.left > limit:
			return dst, r.end(r.resultTooLarge())
		}
		dst = append(dst, w...)
		r.use(len(w))
		limit -= int64(len(w))
		if dst, limit, err = r.bulk(dst, limit); err != nil {
			return dst, err
		}
	}
}

// bulk reads what is still to come of a long body or chunk straight to its place while it is more than a buffer's worth.
func (r *Response) bulk(dst []byte, limit int64) ([]byte, int64, error) {
	for r.bulky() {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, bufferSize)
		}
		room := int64(cap(dst) - len(dst))
		if r.left > 0 {
			room = min(room, r.left)
		}
		n, err := r.direct(dst[len(dst) : len(dst)+int(room)])
		dst = dst[:len(dst)+n]
		if limit -= int64(n); limit < 0 {
			return dst[:len(dst)+int(limit)], 0, r.end(r.resultTooLarge())
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return dst, limit, err
		}
	}
	return dst, limit, nil
}

func (r *Response) resultTooLarge() *fault.Error {
	return r.tooLarge(r.phase(), "the upstream's answer is larger than the limit for results", "have the server send less, or raise the result limit")
}
