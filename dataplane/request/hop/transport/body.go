package transport

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// Limits of the chunked coding.
const (
	maxChunkLine = 1 << 10 // size and extensions
	maxTrailer   = 16 << 10
)

// window returns what is at hand of the body, at least one byte, waiting for it if need be; use takes it. At the end it returns io.EOF.
func (r *Response) window() ([]byte, error) {
	if r.err == nil {
		if err := r.advance(); err != nil {
			return nil, r.end(err)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	w := r.c.buf[r.c.r:r.c.w]
	if r.left >= 0 && int64(len(w)) > r.left {
		w = w[:r.left]
	}
	r.noteFirst()
	return w, nil
}

// advance makes sure that a byte of the body is buffered.
func (r *Response) advance() error {
	if r.c == nil {
		return errClosed
	}
	if r.encoded {
		return r.contentCoding()
	}
	if r.chunked && r.left == 0 {
		if err := r.nextChunk(); err != nil {
			return err
		}
	}
	if r.c.r < r.c.w {
		return nil
	}
	return r.more()
}

// use takes n bytes of the window.
func (r *Response) use(n int) {
	r.c.r += n
	r.took(int64(n))
}

// took counts bytes of the body that are no longer to come.
func (r *Response) took(n int64) {
	if r.left < 0 {
		return
	}
	if r.left -= n; r.left > 0 {
		return
	}
	if r.chunked {
		r.tail = true
	} else {
		_ = r.end(io.EOF)
	}
}

// more reads from the connection; in the body each wait has its own limit.
func (r *Response) more() error {
	if r.dry {
		return errDry
	}
	r.armBody()
	if r.stream && r.inBody {
		return r.c.await()
	}
	return r.c.fill()
}

func (r *Response) armBody() {
	if !r.inBody { // the wait for the head was armed when the request left
		return
	}
	if r.idle > 0 {
		r.c.armRead(r.by(time.Now(), r.idle))
	} else {
		r.c.armRead(r.total)
	}
}

// bulky reports whether more than a buffer's worth is still to come in one go, and nothing of it is buffered.
func (r *Response) bulky() bool {
	return r.err == nil && r.c != nil && r.c.r == r.c.w && (r.left > bufferSize || r.left < 0)
}

// direct reads bytes of the body past the buffer, which must be empty.
func (r *Response) direct(p []byte) (int, error) {
	if r.encoded {
		return 0, r.end(r.contentCoding())
	}
	r.armBody()
	n, err := r.c.nc.Read(p)
	if n > 0 {
		r.noteFirst()
		r.took(int64(n))
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, r.end(err)
}

// end notes why no more comes, once, and returns it as the caller shall see it.
func (r *Response) end(err error) error {
	if r.err != nil {
		return r.err
	}
	if !errors.Is(err, io.EOF) || r.left > 0 || r.chunked && !r.finished {
		r.keep = false
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, errDry) && !errors.Is(err, errClosed) {
			err = r.bodyFault(err)
		}
	}
	r.err = err
	if r.tm != nil {
		r.tm.End = time.Now()
	}
	return err
}

func (r *Response) noteFirst() {
	if r.tm.First.IsZero() {
		r.tm.First = time.Now()
	}
}

// nextChunk reads up to the data of the next chunk; io.EOF after the last one and the trailer.
func (r *Response) nextChunk() error {
	if r.tail {
		l, err := r.line(2)
		if err != nil && !errors.Is(err, errLongLine) {
			return err
		}
		if err != nil || len(l) != 2 || l[0] != '\r' {
			return r.malformed(r.phase(), "a chunk is longer than it says")
		}
		r.tail = false
	}
	l, err := r.line(maxChunkLine)
	if errors.Is(err, errLongLine) {
		return r.malformed(r.phase(), "a chunk's size line is too long")
	}
	if err != nil {
		return err
	}
	n, ok := chunkSize(l)
	if !ok {
		return r.malformed(r.phase(), "a chunk's size isn't a number")
	}
	if n == 0 {
		return r.trailer()
	}
	r.left = n
	return nil
}

// chunkSize reads hexadecimal digits up to CRLF, blanks or an extension, which is ignored (RFC 9112 section 7.1).
func chunkSize(l []byte) (int64, bool) {
	if len(l) < 3 || l[len(l)-2] != '\r' {
		return 0, false
	}
	l = l[:len(l)-2]
	if !visible(l) {
		return 0, false
	}
	size, _, _ := bytes.Cut(l, []byte(";"))
	size = trimBlank(size)
	if len(size) == 0 || len(size) > 15 || l[0] == ' ' || l[0] == '\t' {
		return 0, false
	}
	var n int64
	for _, c := range size {
		d, ok := hex(c)
		if !ok {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, true
}

func hex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= lower(c) && lower(c) <= 'f':
		return lower(c) - 'a' + 10, true
	}
	return 0, false
}

// trailer skips the fields behind the last chunk.
func (r *Response) trailer() error {
	for room := maxTrailer; ; {
		l, err := r.line(room)
		if errors.Is(err, errLongLine) {
			return r.tooLarge(r.phase(), "the trailer of the upstream's answer is too large", "look at what the server puts into its trailer")
		}
		if err != nil {
			return err
		}
		if len(trimEnd(l)) == 0 {
			r.finished = true
			return io.EOF
		}
		room -= len(l)
	}
}

// line takes a whole line, its LF included, of at most limit bytes; it is valid until the next read.
func (r *Response) line(limit int) ([]byte, error) {
	c, seen := r.c, 0
	for {
		if i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n'); i >= 0 {
			n := seen + i + 1
			if n > limit {
				return nil, errLongLine
			}
			l := c.buf[c.r : c.r+n]
			c.r += n
			return l, nil
		}
		if seen = c.w - c.r; seen >= limit {
			return nil, errLongLine
		}
		c.makeRoom()
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

func (r *Response) contentCoding() *fault.Error {
	return upstream(r.phase(), fault.Unsupported, nil, "the upstream's answer is compressed, which nobody asked for",
		"turn off compression in the server or in the proxy in front of it")
}
