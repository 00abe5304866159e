package http1

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// together is up to how much of an answer is put together before it is sent, larger pieces go out as they are.
const together = 16 << 10

// buffers hold answers while they are put together, so that an idle connection keeps none, nor does a stream between two events.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, together+4<<10)
	return &b
}}

// framing is how the end of an answer is told.
type framing uint8

const (
	open     framing = iota // not yet settled
	bodyless                // by the status
	counted                 // Content-Length
	chunked
)

// sink is the way out of one request at a time. The zero value with c and header set is ready for begin.
type sink struct {
	c       *conn
	header  http.Header
	status  int
	framing framing
	length  int64 // as declared, -1: not
	written int64
	aborted bool
	err     error // of a write: there is nobody to write to

	pooled  *[]byte // nil between the events of a stream
	out     []byte  // not yet sent
	until   time.Time
	vectors [3][]byte
	pieces  net.Buffers
}

func (s *sink) begin() {
	clear(s.header)
	s.status, s.framing, s.length, s.written, s.aborted, s.err = 0, open, -1, 0, false, nil
	s.take()
}

// take gets a buffer, if there is none.
func (s *sink) take() {
	if s.pooled == nil {
		s.pooled = buffers.Get().(*[]byte)
		s.out = (*s.pooled)[:0]
	}
}

// Header is the answer's header; after WriteHeader, keys with http.TrailerPrefix count if the answer has no Content-Length.
func (s *sink) Header() http.Header { return s.header }

// WriteHeader settles status and header. They are sent with the body, when flushed, or at the end. Interim answers aren't offered.
func (s *sink) WriteHeader(status int) {
	if s.status != 0 || s.aborted || status < 200 {
		return
	}
	if status > 999 {
		status = http.StatusInternalServerError
	}
	s.status = status
	s.out = append(s.out, "HTTP/1.1 "...)
	s.out = strconv.AppendInt(s.out, int64(status), 10)
	s.out = append(append(append(s.out, ' '), http.StatusText(status)...), "\r\n"...)
	s.fields()
	if s.header["Date"] == nil {
		s.out = s.c.srv.clock.append(s.out, time.Now())
	}
	if c := s.c; !c.keep || c.body.absent() || c.srv.draining.Load() {
		c.keep = false
		s.out = append(s.out, "Connection: close\r\n"...)
	}
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified:
		s.framing = bodyless
		s.out = append(s.out, "\r\n"...)
	case s.length >= 0:
		s.count()
	}
}

// fields writes the header but for what is ours to say.
func (s *sink) fields() {
	for k, values := range s.header {
		switch k {
		case "Content-Length":
			s.declare(values)
		case "Connection":
			s.c.keep = s.c.keep && !wantsClose(values)
		case "Transfer-Encoding":
		default:
			if !strings.HasPrefix(k, http.TrailerPrefix) {
				s.out = appendField(s.out, k, values)
			}
		}
	}
}

// declare takes the handler's word for the length, if it is one.
func (s *sink) declare(values []string) {
	if len(values) != 1 {
		return
	}
	if n, err := strconv.ParseUint(values[0], 10, 63); err == nil {
		s.length = int64(n)
	}
}

func wantsClose(values []string) bool {
	for _, v := range values {
		if strings.EqualFold(v, "close") {
			return true
		}
	}
	return false
}

// count frames the answer by its length.
func (s *sink) count() {
	s.framing = counted
	s.out = append(s.out, "Content-Length: "...)
	s.out = strconv.AppendInt(s.out, s.length, 10)
	s.out = append(s.out, "\r\n\r\n"...)
}

// start settles the framing once there is a body, or may be.
func (s *sink) start() {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	if s.framing == open {
		s.framing = chunked
		s.out = append(s.out, "Transfer-Encoding: chunked\r\n\r\n"...)
	}
}

// gone is why nothing can be written any more, or nil.
func (s *sink) gone() error {
	if s.aborted {
		return http.ErrAbortHandler
	}
	return s.err
}

// Write appends to the body. A small answer is sent when the handler is done with the request, so that whoever sees it finds the request told
// in metrics and traces; more than the declared length isn't taken.
func (s *sink) Write(p []byte) (int, error) {
	if err := s.gone(); err != nil || len(p) == 0 {
		return 0, err
	}
	s.start()
	switch s.framing {
	case bodyless:
		return 0, http.ErrBodyNotAllowed
	case chunked:
		return s.chunk(p)
	}
	var excess error
	if room := s.length - s.written; int64(len(p)) > room {
		p, excess = p[:room], http.ErrContentLength
	}
	s.written += int64(len(p))
	s.put(p, nil)
	if s.err != nil {
		return 0, s.err
	}
	return len(p), excess
}

var crlf = []byte("\r\n")

// chunk writes p as one chunk (RFC 9112 section 7.1).
func (s *sink) chunk(p []byte) (int, error) {
	s.take()
	s.out = strconv.AppendInt(s.out, int64(len(p)), 16)
	s.out = append(s.out, crlf...)
	s.put(p, crlf)
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

// put appends p and end to what is to be sent. When that is too much, all of it is sent in one go, uncopied.
func (s *sink) put(p, end []byte) {
	if len(s.out)+len(p)+len(end) <= together {
		s.out = append(append(s.out, p...), end...)
		return
	}
	s.vectors = [3][]byte{s.out, p, end}
	s.pieces = s.vectors[:]
	if len(end) == 0 {
		s.pieces = s.vectors[:2]
	}
	s.arm(time.Now())
	_, err := s.pieces.WriteTo(s.c.nc)
	s.vectors = [3][]byte{}
	s.sent(err)
}

// send sends what was put together.
func (s *sink) send() {
	if len(s.out) == 0 || s.err != nil {
		return
	}
	s.arm(time.Now())
	_, err := s.c.nc.Write(s.out)
	s.sent(err)
}

// sent notes what became of a write. Who can't be written to is gone.
func (s *sink) sent(err error) {
	s.out = s.out[:0]
	if err != nil {
		s.err = err
		s.c.cancel()
	}
}

// Flush sends what there is. An answer without a length is a stream then: its caller is watched from here on.
func (s *sink) Flush() error {
	if err := s.gone(); err != nil {
		return err
	}
	s.start()
	s.send()
	if s.framing == chunked {
		s.release()
		s.c.watch(0)
	}
	return s.err
}

// Abort makes the caller see an unfinished answer.
func (s *sink) Abort() { s.aborted = true }

// finish sends the rest and reports whether the answer is whole. Of an aborted one goes out what was written before, and no end.
func (s *sink) finish() bool {
	defer s.release()
	switch {
	case s.err != nil || s.aborted && s.status == 0:
		return false
	case s.aborted:
		s.start()
	case s.status == 0:
		s.WriteHeader(http.StatusOK)
		fallthrough
	default:
		s.conclude()
	}
	s.send()
	return s.err == nil && !s.aborted && (s.framing != counted || s.written == s.length)
}

// conclude writes the end of the answer.
func (s *sink) conclude() {
	switch s.framing {
	case open: // nothing was written: that is a length
		s.length = 0
		s.count()
	case chunked:
		s.take()
		s.out = append(s.out, "0\r\n"...) // and trailers
		for k, values := range s.header {
			if k, ok := strings.CutPrefix(k, http.TrailerPrefix); ok {
				s.out = appendField(s.out, k, values)
			}
		}
		s.out = append(s.out, crlf...)
	}
}

// release gives the buffer back.
func (s *sink) release() {
	if s.pooled != nil && cap(s.out) <= 2*together {
		*s.pooled = s.out[:0]
		buffers.Put(s.pooled)
	}
	s.pooled, s.out = nil, nil
}

// arm gives the writer at least half the limit from now.
func (s *sink) arm(now time.Time) {
	limit := s.c.srv.cfg.WriteTimeout
	if s.until.Sub(now) > limit/2 {
		return
	}
	s.until = now.Add(limit)
	s.c.nc.SetWriteDeadline(s.until) //nolint:errcheck // without a deadline the connection limit still holds
}

// appendField appends a field's lines. What could end a line early becomes a blank; a name that is none is left out.
func appendField(b []byte, name string, values []string) []byte {
	if name == "" || !all(name, isToken) {
		return b
	}
	for _, v := range values {
		b = append(append(b, name...), ": "...)
		at := len(b)
		b = append(b, v...)
		for i, c := range b[at:] {
			if classes[c]&isVisible == 0 {
				b[at+i] = ' '
			}
		}
		b = append(b, crlf...)
	}
	return b
}
