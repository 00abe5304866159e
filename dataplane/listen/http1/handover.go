package http1

import (
	"errors"
	"net"
	"time"
)

// handOver gives the connection away, with what was read of it and without deadlines.
func (c *conn) handOver() net.Conn {
	c.nc.SetDeadline(time.Time{}) //nolint:errcheck // the new owner sets its own
	return &handed{Conn: c.nc, rest: c.buf[c.r:c.w]}
}

// handed is a connection whose first bytes were read already.
type handed struct {
	net.Conn
	rest []byte
}

// Read gives back what was read before, then reads on.
func (h *handed) Read(p []byte) (int, error) {
	if len(h.rest) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.rest)
	if h.rest = h.rest[n:]; len(h.rest) == 0 {
		h.rest = nil
	}
	return n, nil
}

// CloseWrite says the end of what we send, where the connection can do that.
func (h *handed) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is the connection underneath.
func (h *handed) NetConn() net.Conn { return h.Conn }
