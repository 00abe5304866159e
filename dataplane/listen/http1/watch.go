package http1

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// tick is how long a call may take before somebody watches whether its caller stays: twice that at most.
const tick = 2 * time.Millisecond

// begin makes the context of the request that is about to be handled. Who handles it quickly pays for no more than that.
func (c *conn) begin() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.visits++
	c.visit, c.cancel = c.visits, cancel
	visit, dead := c.visit, c.state == closed
	c.mu.Unlock()
	if dead { // broken off since the head came
		cancel()
	}
	c.srv.wheel.add(c, visit)
	return ctx
}

// end ends the request's context and takes the reading side back from the watcher, if there is one.
func (c *conn) end() {
	c.mu.Lock()
	c.visit = 0
	joined := c.joined
	c.joined = nil
	c.mu.Unlock()
	c.cancel()
	if joined != nil {
		c.armRead(past)
		<-joined
	}
}

// watch has the caller watched while the given request (0: the one under way) lasts. It reports false when that must wait for the body's end.
func (c *conn) watch(visit uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.visit == 0 || visit != 0 && c.visit != visit || c.joined != nil {
		return true
	}
	if !c.intake.Load() {
		return false
	}
	if !c.readBy.IsZero() {
		c.armRead(time.Time{})
	}
	c.joined = make(chan struct{})
	go c.guard(c.joined, c.cancel)
	return true
}

// guard reads ahead until the connection ends, the buffer is full or end wants the reading side back. What comes belongs to later requests.
func (c *conn) guard(joined chan<- struct{}, cancel context.CancelFunc) {
	defer close(joined)
	c.lend()
	defer c.reclaim()
	for c.w < len(c.buf) {
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if n > 0 {
			c.reclaim()
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			c.lost = !errors.Is(err, io.EOF) // at an orderly end, what was asked before it is still answered
			cancel()
			return
		}
	}
}

// readers are buffers for reading that nobody waits with.
var readers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// lend gives the buffer away when there is nothing in it: a caller of a long call or stream rarely says a word.
func (c *conn) lend() {
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r = 0
	if c.w > 0 {
		return
	}
	if len(c.buf) == bufferSize {
		readers.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = c.spare[:]
}

// reclaim takes a buffer again, with what has come meanwhile.
func (c *conn) reclaim() {
	if len(c.buf) > len(c.spare) {
		return
	}
	c.buf = readers.Get().(*[bufferSize]byte)[:]
	c.w = copy(c.buf, c.spare[:c.w])
}

// wheel finds the requests that take long without a timer for each: those that began within one tick wait together for the next but one.
type wheel struct {
	mu         sync.Mutex
	young, old []entry     // guarded by mu
	spare      []entry     // guarded by mu
	timer      *time.Timer // guarded by mu
	turning    bool        // guarded by mu
}

type entry struct {
	c     *conn
	visit uint64
}

func (w *wheel) add(c *conn, visit uint64) {
	w.mu.Lock()
	w.young = append(w.young, entry{c, visit})
	if !w.turning {
		w.startLocked()
	}
	w.mu.Unlock()
}

func (w *wheel) startLocked() {
	w.turning = true
	if w.timer == nil {
		w.timer = time.AfterFunc(tick, w.turn)
		return
	}
	w.timer.Reset(tick)
}

// turn looks at those whose time has come. It runs once per tick while there are any requests.
func (w *wheel) turn() {
	w.mu.Lock()
	due := w.old
	w.old, w.young = w.young, w.spare[:0]
	w.mu.Unlock()
	again := due[:0]
	for _, e := range due {
		if !e.c.watch(e.visit) {
			again = append(again, e)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.young = append(w.young, again...)
	clear(due)
	w.spare = due
	if w.turning = len(w.young)+len(w.old) > 0; w.turning {
		w.startLocked()
	}
}
