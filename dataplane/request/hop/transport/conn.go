package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	bufferSize = 4 << 10       // what an idle connection keeps for reading
	bufferMax  = 64 << 10      // what it grows to while much is coming
	outMax     = 2 * smallBody // what it keeps for writing
	fewBytes   = 128           // what a stream keeps for reading while nothing comes: a comment, or a small event
)

// conn is one connection and its buffers. It has one owner at a time; only sever and hear may be called by others.
type conn struct {
	nc     net.Conn        // what is spoken over: TCP or TLS
	raw    net.Conn        // the TCP connection at the bottom
	sys    syscall.RawConn // its descriptor; nil when it has none
	remote string          // peer address

	buf  []byte // buf[r:w] is read and not yet used
	r, w int
	full bool // the last read filled buf to the brim
	few  [fewBytes]byte
	brim bool   // the last read filled few to the brim
	out  []byte // head (and small body) of the request

	readBy, writeBy time.Time // deadlines as set by the owner
	graceBy         time.Time // deadline set by hear, readable once heard
	idleSince       time.Time // when the pool got it

	severed atomic.Bool // the caller left: the deadlines are in the past and stay there
	heard   atomic.Bool // the answer to a large request has begun, or never will
	sever   func()      // made once, so that watching a context doesn't allocate it
	peek    func(fd uintptr)
	quiet   bool // what peek saw
}

func newConn(raw net.Conn) *conn {
	c := &conn{nc: raw, raw: raw, buf: readers.Get().(*[bufferSize]byte)[:], out: make([]byte, 0, 1<<10), remote: raw.RemoteAddr().String()}
	if sc, ok := raw.(syscall.Conn); ok {
		c.sys, _ = sc.SyscallConn()
	}
	c.sever = func() {
		c.severed.Store(true)
		_ = c.raw.SetDeadline(past)
	}
	c.peek = func(fd uintptr) { c.quiet = silent(fd) }
	return c
}

// past is a deadline that has always been missed.
var past = time.Unix(1, 0)

// secure puts TLS over the connection; the handshake is up to the caller.
func (c *conn) secure(cfg *tls.Config) *tls.Conn {
	tc := tls.Client(c.raw, cfg)
	c.nc = tc
	return tc
}

// alive reports whether an idle connection can be used: the peer has neither hung up nor spoken out of turn. One without a descriptor
// can't be looked at and counts as dead.
func (c *conn) alive() bool {
	if c.sys == nil || c.r != c.w {
		return false
	}
	c.quiet = false
	return c.sys.Control(c.peek) == nil && c.quiet && (c.nc == c.raw || c.nothingDecrypted())
}

// nothingDecrypted reports whether TLS has read no more than was taken from it: surplus of the last answer would be the next one's
// beginning. It never waits, since the socket's deadline is missed already.
func (c *conn) nothingDecrypted() bool {
	c.armRead(past)
	_, err := c.nc.Read(c.buf[:1])
	return errors.Is(err, errDeadline)
}

// fill reads once, behind what is there. It needs room: an empty buffer, or makeRoom before.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if c.full && len(c.buf) < bufferMax {
			c.buf = make([]byte, min(4*len(c.buf), bufferMax))
		}
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	c.full = c.w == len(c.buf)
	switch {
	case n > 0:
		return nil // an error beside data comes again
	case err != nil:
		return err
	}
	return io.ErrNoProgress
}

// readers are buffers for reading that no stream waits with.
var readers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// await reads once like fill, and has no buffer while it waits. Where more comes than a few bytes, the next read has one.
func (c *conn) await() error {
	if c.r != c.w || c.brim || c.full {
		c.brim = false
		return c.fill()
	}
	if len(c.buf) == bufferSize {
		readers.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = nil
	n, err := c.nc.Read(c.few[:])
	c.buf = readers.Get().(*[bufferSize]byte)[:]
	c.r, c.w = 0, copy(c.buf, c.few[:n])
	c.brim = n == len(c.few)
	switch {
	case n > 0:
		return nil // an error beside data comes again
	case err != nil:
		return err
	}
	return io.ErrNoProgress
}

// makeRoom moves or grows the buffer so that fill can add to what is there.
func (c *conn) makeRoom() {
	switch {
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
}

// armRead sets the deadline of reads; zero is none. A severed connection stays severed.
func (c *conn) armRead(by time.Time) {
	if by.Equal(c.readBy) {
		return
	}
	c.readBy = by
	_ = c.raw.SetReadDeadline(by)
	c.resever()
}

// armWrite sets the deadline of writes; an answer that has begun gives them no longer than its grace.
func (c *conn) armWrite(by time.Time) {
	c.writeBy = by
	_ = c.raw.SetWriteDeadline(by)
	if c.heard.Load() {
		_ = c.raw.SetWriteDeadline(c.graceBy)
	}
	c.resever()
}

// armBoth sets both deadlines in one go.
func (c *conn) armBoth(by time.Time) {
	if by.Equal(c.readBy) && by.Equal(c.writeBy) {
		return
	}
	c.readBy, c.writeBy = by, by
	_ = c.raw.SetDeadline(by)
	c.resever()
}

// resever undoes a deadline that was set while sever ran: severed is stored before the deadlines are changed, and read after.
func (c *conn) resever() {
	if c.severed.Load() {
		_ = c.raw.SetDeadline(past)
	}
}

// hear bounds what is left of a large write.
func (c *conn) hear(graceBy time.Time) {
	c.graceBy = graceBy
	c.heard.Store(true)
	_ = c.raw.SetWriteDeadline(graceBy)
	c.resever()
}

// rest prepares the connection for the pool: large buffers go.
func (c *conn) rest(now time.Time) {
	c.r, c.w, c.full, c.brim, c.idleSince = 0, 0, false, false, now
	if c.heard.Swap(false) {
		c.writeBy = c.graceBy
	}
	if len(c.buf) > bufferSize {
		c.buf = make([]byte, bufferSize)
	}
	if cap(c.out) > outMax {
		c.out = nil
	}
}

// close ends an idle, clean connection, with TLS's farewell.
func (c *conn) close() { _ = c.nc.Close() }

// abort ends a connection in any state at once: TLS's farewell could block behind a peer that doesn't read.
func (c *conn) abort() { _ = c.raw.Close() }
