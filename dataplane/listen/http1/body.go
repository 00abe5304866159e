package http1

import (
	"errors"
	"io"
	"time"
)

// body is the request's body: what is buffered of it and what is still to come.
type body struct {
	c     *conn
	left  int64
	armed bool // its deadline is set
}

// Read reads some of the body. Its end is told after its last byte; a connection that ends before that is an unexpected EOF.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.some(p)
	b.left -= int64(n)
	if b.left == 0 {
		b.c.intake.Store(true)
		return n, nil
	}
	if n > 0 {
		return n, nil // an error beside data comes again
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// some takes what is buffered, or waits for more.
func (b *body) some(p []byte) (int, error) {
	c := b.c
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	if !b.armed {
		b.armed = true
		c.armRead(time.Now().Add(c.srv.cfg.BodyTimeout))
	}
	return c.nc.Read(p)
}

// absent reports whether a part of the body isn't here yet: nobody waits for it once the answer is made. While something of it is left, no
// watcher reads into the buffer.
func (b *body) absent() bool { return b.left > 0 && b.left > int64(b.c.w-b.c.r) }

// discard reads the rest away.
func (b *body) discard() error {
	if n := min(int64(b.c.w-b.c.r), b.left); n > 0 {
		b.c.r += int(n)
		b.left -= n
	}
	if b.left == 0 {
		return nil
	}
	_, err := io.CopyN(io.Discard, b, b.left)
	return err
}
