package transport

import (
	"bytes"
	"errors"
	"io"

	"github.com/hopgate/hopgate/proto/fault"
)

// NextEvent appends the next server-sent event to dst: its lines and the empty line that ends it, byte for byte as the upstream sent
// them (WHATWG HTML, section "Server-sent events"). CR, LF and CRLF end lines. Comments alone count as an event, since they keep
// connections open; further empty lines between events, and a byte order mark at the start of the stream, are dropped. When an event
// ends with a lone CR at the end of what has arrived, it is returned at once; a LF that follows is dropped.
//
// An event above limit bytes (zero: Request.EventLimit) is a fault of kind too_large. At a clean end NextEvent returns io.EOF. What
// stands there unfinished is dropped, as a browser would, unless it holds a data line: many servers forget the last empty line, so
// that event is returned with the missing line ends added.
//
// With an error, dst is returned as it came.
func (r *Response) NextEvent(dst []byte, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = r.eventLimit
	}
	if limit <= 0 {
		limit = 1<<63 - 1
	}
	start := len(dst)
	lines := lineScan{}
	for {
		w, err := r.window()
		if errors.Is(err, io.EOF) {
			return r.lastEvent(dst, start)
		}
		if err != nil {
			return dst[:start], err
		}
		if r.skipLF && len(dst) == start {
			r.skipLF = false
			if w[0] == '\n' {
				r.use(1)
				continue
			}
		}
		n, done := lines.scan(w)
		if int64(len(dst)-start)+int64(n) > limit {
			return dst[:start], r.end(r.eventTooLarge())
		}
		dst = append(dst, w[:n]...)
		r.use(n)
		if !done {
			continue
		}
		r.skipLF, lines = lines.afterCR, lineScan{}
		if dst = r.unmark(dst, start); !blank(dst[start:]) {
			r.begun = true
			return dst, nil
		}
		dst = dst[:start]
	}
}

// lineScan finds the empty line that ends an event, across windows.
type lineScan struct {
	inLine  bool // the current line has bytes
	afterCR bool // the last byte seen was a CR: a LF right behind it belongs to it
}

// scan returns how many bytes of w belong to the event and whether it ends there.
func (s *lineScan) scan(w []byte) (n int, done bool) {
	if s.afterCR {
		s.afterCR = false
		if w[0] == '\n' {
			n = 1
		}
	}
	lf, cr := -1, -1 // next of each at or behind n; searched again only when passed, so that a window is searched twice at most
	for n < len(w) {
		lf, cr = next(w, '\n', n, lf), next(w, '\r', n, cr)
		at := min(lf, cr)
		if at == len(w) {
			s.inLine = true
			return at, false
		}
		empty := at == n && !s.inLine
		n = at + 1
		if w[at] == '\r' {
			if n == len(w) {
				s.afterCR = true
			} else if w[n] == '\n' {
				n++
			}
		}
		s.inLine = false
		if empty {
			return n, true
		}
	}
	return n, false
}

// next returns the first c at or behind from, len(w) if there is none; known is the previous answer.
func next(w []byte, c byte, from, known int) int {
	if known >= from {
		return known
	}
	if i := bytes.IndexByte(w[from:], c); i >= 0 {
		return from + i
	}
	return len(w)
}

var mark = []byte("\xef\xbb\xbf")

// unmark drops a byte order mark from the first event.
func (r *Response) unmark(dst []byte, start int) []byte {
	if r.begun || !bytes.HasPrefix(dst[start:], mark) {
		return dst
	}
	r.begun = true
	return append(dst[:start], bytes.TrimLeft(dst[start+len(mark):], "\r\n")...)
}

// blank reports whether an event is nothing but line ends.
func blank(event []byte) bool {
	for _, c := range event {
		if c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// lastEvent completes what the stream ended with if it is worth it.
func (r *Response) lastEvent(dst []byte, start int) ([]byte, error) {
	dst = r.unmark(dst, start)
	event := dst[start:]
	if !hasData(event) {
		return dst[:start], io.EOF
	}
	switch event[len(event)-1] {
	case '\n':
		return append(dst, '\n'), nil
	case '\r': // a LF here would only complete a CRLF
		return append(dst, '\r'), nil
	}
	return append(dst, "\n\n"...), nil
}

// hasData reports whether a line of the event is a data field.
func hasData(event []byte) bool {
	for len(event) > 0 {
		end := bytes.IndexAny(event, "\r\n")
		if end < 0 {
			end = len(event)
		}
		if line := event[:end]; bytes.HasPrefix(line, []byte("data:")) || string(line) == "data" {
			return true
		}
		event = event[min(end+1, len(event)):]
	}
	return false
}

func (r *Response) eventTooLarge() *fault.Error {
	return r.tooLarge(fault.Stream, "an event of the upstream's stream is larger than the limit for events", "have the server send less in one event, or raise the event limit")
}
