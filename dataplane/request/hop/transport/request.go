package transport

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Request is one call. Nothing is added to it but Host, Content-Length and the request line.
type Request struct {
	// Method is POST, GET, DELETE or HEAD.
	Method string
	// Fields are ready header lines "Name: value\r\n", already checked by their maker, without Host, Content-Length, Transfer-Encoding
	// and Connection.
	Fields []byte
	// Body of a POST; not changed.
	Body []byte
	// Timeouts of this call; zero is no limit.
	Timeouts table.Timeouts
	// Stream marks a long-lived answer: Timeouts.Idle and Timeouts.Total don't apply to it.
	Stream bool
	// ResultLimit bounds Read, and ReadAll when it is called without a limit, in bytes; EventLimit bounds NextEvent called without one.
	// Zero is no limit.
	ResultLimit, EventLimit int64
}

const (
	smallBody = 16 << 10  // up to here the body is copied behind the head and goes out in one write
	pieceSize = 256 << 10 // a larger body goes out in pieces, each with its own idle limit
	// earlyGrace is how long the rest of a request may still take once its answer has begun, and how long an answer may take once the
	// rest of the request can't be written.
	earlyGrace = 250 * time.Millisecond
)

var errDeadline = os.ErrDeadlineExceeded

// check refuses what would break the framing; all of it would be a mistake of ours.
func (q *Request) check(t *table.Target) error {
	switch {
	case t == nil:
		return internal("a request without a target")
	case !word(q.Method) || !word(t.Path) || !word(t.Host):
		return internal("method, path and host must be without blanks and control characters")
	case len(q.Fields) > 0 && !bytes.HasSuffix(q.Fields, crlf):
		return internal("header lines must end with CRLF")
	}
	return nil
}

var crlf = []byte("\r\n")

// word reports whether s has at least one byte and all are visible.
func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return s != ""
}

// appendHead appends the request's head.
func (q *Request) appendHead(b []byte, t *table.Target) []byte {
	b = append(b, q.Method...)
	b = append(b, ' ')
	b = append(b, t.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, t.Host...)
	b = append(b, crlf...)
	b = append(b, q.Fields...)
	if len(q.Body) > 0 || q.Method == http.MethodPost {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(q.Body)), 10)
		b = append(b, crlf...)
	}
	return append(b, crlf...)
}

// send writes the request and arms the wait for the answer. n is how many bytes may have left.
func (r *Response) send(t *table.Target, q *Request) (n int, err error) {
	c := r.c
	c.out = q.appendHead(c.out[:0], t)
	if len(q.Body) > smallBody {
		return r.sendLarge(q)
	}
	c.out = append(c.out, q.Body...)
	began := time.Now()
	c.armBoth(r.by(began, q.Timeouts.FirstByte))
	n, err = c.nc.Write(c.out)
	if q.Stream {
		c.out = nil // nothing else is written for as long as it lasts
	}
	r.tm.Sent = time.Now()
	if r.tm.Sent.Sub(began) > time.Millisecond { // the limit runs from the last byte
		c.armRead(r.by(r.tm.Sent, q.Timeouts.FirstByte))
	}
	r.stalled = errors.Is(err, errDeadline)
	return n, err
}

// sendLarge writes head and body without copying them. The peer may answer before it has read everything and stop reading: without
// somebody who listens both sides would wait for each other. So one goroutine reads the first bytes of the answer meanwhile; from then
// on the rest of the body has earlyGrace to leave.
func (r *Response) sendLarge(q *Request) (n int, err error) {
	c := r.c
	c.armRead(r.total)
	c.heard.Store(false)
	first := make(chan error, 1)
	go func() {
		err := c.fill()
		c.hear(time.Now().Add(earlyGrace))
		first <- err
	}()
	n, err = r.writePieces(q.Body)
	r.tm.Sent = time.Now()
	switch {
	case err == nil:
		c.armRead(r.by(r.tm.Sent, q.Timeouts.FirstByte))
	case n == 0: // nobody can have an answer to that
		c.armRead(past)
	case errors.Is(err, errDeadline) && !c.heard.Load():
		r.stalled = true
		c.armRead(past)
	default:
		c.armRead(r.by(r.tm.Sent, earlyGrace))
	}
	r.firstErr = <-first
	r.stalled = r.stalled && r.firstErr != nil
	return n, err
}

func (r *Response) writePieces(body []byte) (n int, err error) {
	c := r.c
	bufs := net.Buffers{c.out}
	for {
		k := min(len(body), pieceSize)
		bufs = append(bufs, body[:k])
		body = body[k:]
		c.armWrite(r.by(time.Now(), r.idle))
		sent, err := bufs.WriteTo(c.nc)
		n += int(sent)
		if err != nil || len(body) == 0 {
			return n, err
		}
		bufs = bufs[:0]
	}
}

// sendFailed decides about a request that didn't leave completely: an answer may be there all the same.
func (r *Response) sendFailed(n int, err error) error {
	r.keep, r.sendErr = false, err
	if r.ctx.Err() != nil {
		return gone(r.ctx, fault.Headers)
	}
	if r.stalled {
		return r.timedOut(fault.Headers, err, "the upstream didn't take the request in time",
			"the server or something in front of it has stopped reading; look at its load, or raise the idle timeout")
	}
	if n == 0 {
		return unsent(r.headFault(err))
	}
	r.c.armRead(r.by(time.Now(), earlyGrace))
	return nil
}
