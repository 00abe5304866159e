package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// Limits of an answer's head.
const (
	maxHead    = 64 << 10 // bytes, status line and field lines together
	maxFields  = 128
	maxInterim = 8 // 1xx answers before the real one
)

// framed is what the fields say about the body and the connection.
type framed struct {
	length   int64 // Content-Length; -1: none
	chunked  bool
	old      bool // HTTP/1.0
	close    bool
	keep     bool // Connection: keep-alive, which HTTP/1.0 needs
	encoding bool // a Content-Encoding other than identity
}

// readHead reads the head of the final answer and prepares the body.
func (r *Response) readHead() error {
	if r.firstErr != nil {
		return r.headFault(r.firstErr)
	}
	for range 1 + maxInterim {
		var h framed
		if err := r.parseHead(&h); err != nil {
			return r.headFault(err)
		}
		if r.Status == http.StatusSwitchingProtocols {
			return r.malformed(fault.Headers, "it changes the protocol unasked")
		}
		if r.Status >= 200 {
			r.frame(&h)
			return nil
		}
	}
	return r.malformed(fault.Headers, "too many interim answers")
}

// parseHead reads one head: status line, fields, empty line.
func (r *Response) parseHead(h *framed) error {
	*h = framed{length: -1}
	r.Status, r.ctype = 0, Other
	r.Header.raw, r.Header.fields = r.rawStore[:0], r.fieldStore[:0]
	l, err := r.headLine(maxHead)
	if err != nil {
		return err
	}
	if err := r.statusLine(l, h); err != nil {
		return err
	}
	room := maxHead - len(l)
	for {
		if l, err = r.headLine(room); err != nil {
			return err
		}
		room -= len(l)
		if l = trimEnd(l); len(l) == 0 {
			return r.consistent(h)
		}
		if err := r.fieldLine(l, h); err != nil {
			return err
		}
	}
}

// headLine reads a line of the head.
func (r *Response) headLine(limit int) ([]byte, error) {
	l, err := r.line(limit)
	if errors.Is(err, errLongLine) {
		if r.Status == 0 {
			return nil, r.notHTTP(r.c.buf[r.c.r:r.c.w])
		}
		return nil, r.tooLarge(fault.Headers, "the header of the upstream's answer is larger than 64 KiB", "look at what the server puts into its header, cookies for example")
	}
	if err != nil && r.Status == 0 && r.c.w > r.c.r && !startsHTTP(r.c.buf[r.c.r:r.c.w]) {
		return nil, r.notHTTP(r.c.buf[r.c.r:r.c.w]) // it hung up or fell silent, but what came says why
	}
	return l, err
}

func startsHTTP(b []byte) bool {
	const want = "HTTP/1."
	n := min(len(b), len(want))
	return string(b[:n]) == want[:n]
}

// notHTTP names the usual reasons why the first bytes aren't a status line.
func (r *Response) notHTTP(b []byte) *fault.Error {
	switch {
	case len(b) >= 2 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3:
		f := r.malformed(fault.Headers, "it is TLS")
		f.Hint = "use https:// in the endpoint's URL"
		return f
	case len(b) >= 4 && b[0] == 0 && b[3] == 4 || bytes.HasPrefix(b, []byte("HTTP/2")):
		return r.malformed(fault.Headers, "it is HTTP/2")
	}
	return r.malformed(fault.Headers, "it doesn't begin with a status line")
}

// statusLine reads "HTTP/1.x NNN reason"; the reason doesn't matter (RFC 9112 section 4).
func (r *Response) statusLine(l []byte, h *framed) error {
	raw := l
	l = trimEnd(l)
	if len(l) < 12 || !startsHTTP(l) || (l[7] != '0' && l[7] != '1') || l[8] != ' ' || (len(l) > 12 && l[12] != ' ') {
		return r.notHTTP(raw)
	}
	n := 0
	for _, c := range l[9:12] {
		if c < '0' || c > '9' {
			return r.malformed(fault.Headers, "its status isn't a number")
		}
		n = n*10 + int(c-'0')
	}
	if n < 100 || n > 599 {
		return r.malformed(fault.Headers, "its status is out of range")
	}
	if !visible(l[12:]) {
		return r.malformed(fault.Headers, "there is a control character in its status line")
	}
	r.Status, h.old = n, l[7] == '0'
	return nil
}

// fieldLine keeps one "name: value" (RFC 9112 section 5) and notes what it says about the framing.
func (r *Response) fieldLine(l []byte, h *framed) error {
	switch i := bytes.IndexByte(l, ':'); {
	case l[0] == ' ' || l[0] == '\t':
		return r.malformed(fault.Headers, "a header line is folded")
	case i <= 0 || !token(l[:i]):
		return r.malformed(fault.Headers, "a header name is invalid")
	case !visible(l[i+1:]):
		return r.malformed(fault.Headers, "there is a control character in a header value")
	case len(r.Header.fields) == maxFields:
		return r.tooLarge(fault.Headers, "the header of the upstream's answer has more than 128 fields", "look at what the server puts into its header")
	default:
		name, value := l[:i], trimBlank(l[i+1:])
		r.Header.add(name, value)
		return r.meaning(name, value, h)
	}
}

func (h *Header) add(name, value []byte) {
	at := len(h.raw)
	h.raw = append(append(h.raw, name...), value...)
	mid, end := at+len(name), len(h.raw)
	h.fields = append(h.fields, field{uint16(at), uint16(mid), uint16(mid), uint16(end)}) // a head has less than 64 KiB
}

// meaning reads the fields that matter to the transport itself.
func (r *Response) meaning(name, value []byte, h *framed) error {
	switch len(name) {
	case len("Content-Length"):
		if is(name, "content-length") {
			return r.contentLength(value, h)
		}
	case len("Transfer-Encoding"):
		if is(name, "transfer-encoding") {
			return r.transferEncoding(value, h)
		}
	case len("Connection"):
		if is(name, "connection") {
			connection(value, h)
		}
	case len("Content-Type"):
		if is(name, "content-type") {
			r.ctype = contentType(value)
		}
	case len("Content-Encoding"):
		if is(name, "content-encoding") {
			h.encoding = h.encoding || len(value) > 0 && !is(value, "identity")
		}
	}
	return nil
}

// contentLength accepts digits only; a second field has to say the same.
func (r *Response) contentLength(v []byte, h *framed) error {
	if len(v) == 0 || len(v) > 18 {
		return r.malformed(fault.Headers, "its Content-Length isn't a length")
	}
	var n int64
	for _, c := range v {
		if c < '0' || c > '9' {
			return r.malformed(fault.Headers, "its Content-Length isn't a length")
		}
		n = n*10 + int64(c-'0')
	}
	if h.length >= 0 && h.length != n {
		return r.malformed(fault.Headers, "it has two different Content-Lengths")
	}
	h.length = n
	return nil
}

func (r *Response) transferEncoding(v []byte, h *framed) error {
	if h.chunked {
		return r.malformed(fault.Headers, "it has two Transfer-Encodings")
	}
	if !is(v, "chunked") {
		f := r.malformed(fault.Headers, "its Transfer-Encoding isn't chunked")
		f.Kind = fault.Unsupported
		return f
	}
	h.chunked = true
	return nil
}

// connection reads a comma list of options.
func connection(v []byte, h *framed) {
	for len(v) > 0 {
		var option []byte
		option, v, _ = bytes.Cut(v, []byte(","))
		option = trimBlank(option)
		h.close = h.close || is(option, "close")
		h.keep = h.keep || is(option, "keep-alive")
	}
}

// consistent refuses framing that two readers could understand differently (RFC 9112 section 6.1).
func (r *Response) consistent(h *framed) error {
	switch {
	case h.chunked && h.length >= 0:
		return r.malformed(fault.Headers, "it has both a Content-Length and a Transfer-Encoding")
	case h.chunked && h.old:
		return r.malformed(fault.Headers, "it is HTTP/1.0 and chunked")
	}
	return nil
}

// frame prepares the body as RFC 9112 section 6.3 says.
func (r *Response) frame(h *framed) {
	r.tm.Headers = time.Now()
	r.encoded, r.inBody = h.encoding, true
	untilEnd := false
	switch {
	case r.bodyless || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified:
		r.length, r.left = 0, 0
	case h.chunked:
		r.chunked, r.length, r.left = true, -1, 0
	case h.length >= 0:
		r.length, r.left = h.length, h.length
	default:
		untilEnd, r.length, r.left = true, -1, -1
	}
	r.keep = r.keep && !untilEnd && !h.close && (!h.old || h.keep)
	switch {
	case r.left == 0 && !r.chunked:
		r.err = io.EOF
	case r.c.r < r.c.w:
		r.tm.First = r.tm.Headers
	}
}

// trimEnd cuts the line's end: CRLF, or LF alone (RFC 9112 section 2.2).
func trimEnd(l []byte) []byte {
	l = l[:len(l)-1]
	if n := len(l); n > 0 && l[n-1] == '\r' {
		l = l[:n-1]
	}
	return l
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'); n = len(b) {
		b = b[:n-1]
	}
	return b
}

// The character classes of RFC 9110 section 5.6.2 and 5.5.
const (
	isToken = 1 << iota
	isVisible
)

var classes = func() (t [256]byte) {
	for c := range t {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= isVisible
		}
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			t[c] |= isToken
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= isToken
	}
	return t
}()

func token(b []byte) bool   { return all(b, isToken) }
func visible(b []byte) bool { return all(b, isVisible) }

func all(b []byte, class byte) bool {
	for _, c := range b {
		if classes[c]&class == 0 {
			return false
		}
	}
	return true
}
