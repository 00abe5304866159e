package telemetry

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	flushEvery = 100 * time.Millisecond // the longest a line waits
	flushBytes = 64 << 10               // or this many bytes
	complainAt = 10 * time.Second       // between two log lines about lost access lines
)

// accessLog takes lines from any goroutine and writes them from one. Lines wait in a bounded buffer; a full one drops and counts.
type accessLog struct {
	w    io.Writer
	json bool
	room int // bytes that may wait

	filled chan struct{} // the buffer is no longer empty
	urgent chan struct{} // flushBytes are waiting

	mu  sync.Mutex
	buf []byte // guarded by mu

	spare   []byte // of the writer; changes places with buf
	dropped atomic.Uint64
	scratch sync.Pool // *[]byte: lines are made outside the lock
}

func newAccessLog(w io.Writer, room int, json bool) *accessLog {
	a := &accessLog{w: w, json: json, room: room, filled: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
	size := min(room, 2*flushBytes)
	a.buf, a.spare = make([]byte, 0, size), make([]byte, 0, size)
	a.scratch.New = func() any { b := make([]byte, 0, 1024); return &b }
	return a
}

// add makes the record's line and queues it.
func (a *accessLog) add(r *Record) {
	b := a.scratch.Get().(*[]byte)
	if a.json {
		*b = appendLineJSON((*b)[:0], r)
	} else {
		*b = appendHuman((*b)[:0], r)
	}
	a.queue(*b)
	a.scratch.Put(b)
}

func (a *accessLog) queue(line []byte) {
	a.mu.Lock()
	before := len(a.buf)
	if before+len(line) > a.room {
		a.mu.Unlock()
		a.dropped.Add(1)
		return
	}
	a.buf = append(a.buf, line...)
	after := len(a.buf)
	a.mu.Unlock()
	if before == 0 {
		poke(a.filled)
	}
	if before < flushBytes && after >= flushBytes {
		poke(a.urgent)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lost returns how many lines never reached the writer; a nil log has lost none.
func (a *accessLog) lost() uint64 {
	if a == nil {
		return 0
	}
	return a.dropped.Load()
}

// run writes until ctx ends, and then what is left.
func (a *accessLog) run(ctx context.Context, log *slog.Logger) {
	c := complaint{log: log}
	for {
		select {
		case <-a.filled:
		case <-ctx.Done():
			c.about(a, a.flush())
			return
		}
		pause(ctx, a.urgent)
		c.about(a, a.flush())
	}
}

// pause lets lines gather.
func pause(ctx context.Context, urgent <-chan struct{}) {
	t := time.NewTimer(flushEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-urgent:
	case <-ctx.Done():
	}
}

// flush writes what waits. Lines of a failed write are lost and counted as far as they are known.
func (a *accessLog) flush() error {
	a.mu.Lock()
	full := a.buf
	a.buf = a.spare[:0]
	a.mu.Unlock()
	a.spare = full
	if len(full) == 0 {
		return nil
	}
	n, err := a.w.Write(full)
	if err != nil {
		a.dropped.Add(uint64(countLines(full[n:])))
	}
	return err
}

func countLines(b []byte) (n int) {
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}

// complaint says in the log, now and then, that access lines were lost.
type complaint struct {
	log  *slog.Logger
	last time.Time
	told uint64
}

func (c *complaint) about(a *accessLog, err error) {
	lost, now := a.dropped.Load(), time.Now()
	if c.log == nil || lost == c.told || now.Sub(c.last) < complainAt {
		return
	}
	attrs := []any{"lines", lost - c.told}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	c.log.Warn("access lines were lost: their reader is too slow or gone", attrs...)
	c.last, c.told = now, lost
}
