package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	// mostWalks bounds the walks under way. mostWalksOf bounds those of one server, so that one that is slow, or says all the time that its
	// lists have changed, leaves room for the others.
	mostWalks   = 1000
	mostWalksOf = 100
	// longestWalk is the deadline of a walk when its server's lists have none.
	longestWalk = time.Minute
	// settling is how long who waits for a walk that is over its time gives it to say so.
	settling = 100 * time.Millisecond
	// mostAsked bounds the keys of which is remembered that they were asked for, and askedFor how long that is.
	mostAsked = 10_000
	askedFor  = 10 * time.Minute
)

// flight is one walk, and those who wait for it.
type flight struct {
	key    Key
	server *table.Server
	src    Source
	began  time.Duration // since Catalogue.start
	at     time.Time     // the same
	until  time.Duration // when its time is over, the same
	alone  bool          // its list is for one caller, and isn't kept
	stamp  stamp         // as it was then; without a watch: none stood

	reached atomic.Int32 // the phase that it is in

	done chan struct{} // closed when list and err are set
	list *List
	cost int64
	err  error
}

// wait returns what a walk brings. Who runs out of time just when the walk does hears of it from the walk, which knows best where it was; who had
// less time gets a fault of its own.
func (c *Catalogue) wait(ctx context.Context, f *flight) (*List, error) {
	select {
	case <-f.done:
		return f.list, f.err
	case <-ctx.Done():
	}
	err := ctx.Err()
	if !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if f.until-c.elapsed() <= settling {
		timer := time.NewTimer(settling)
		defer timer.Stop()
		select {
		case <-f.done:
			return f.list, f.err
		case <-timer.C:
		}
	}
	return nil, overdue(f.server, f.key.Kind, f.phase(), err)
}

// List returns the list of that key: from memory, from a walk under way, or from one that it begins. s and src belong to the key. A walk has
// the time of s.Timeouts.List, and goes on when those who wait for it leave. Errors are those of src, unchanged; *fault.Error for what the
// catalogue refuses, among it upstream/timed_out when ctx runs out of time, with the phase that the walk is in then; or another end of ctx.
// Failures aren't kept, but for those of servers that run out of time: for a while, of 1 s to 30 s, these aren't asked again, and the fault is
// there at once.
//
// A private list of a key without a scope goes to the one caller who began its walk, and so does a fault of that caller's own session: each of
// the others gets a walk of its own.
func (c *Catalogue) List(ctx context.Context, key Key, s *table.Server, src Source) (*List, error) {
	if l, ok := c.Peek(key); ok {
		return l, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, joined, err := c.join(key, s, src)
	if err != nil {
		return nil, err
	}
	l, err := c.wait(ctx, f)
	if joined && ctx.Err() == nil && f.personal() {
		return c.Alone(ctx, key, s, src)
	}
	return l, err
}

// personal reports whether what a walk brought is for the caller who began it. The walk is over.
func (f *flight) personal() bool {
	if f.err != nil {
		known := fault.As(f.err)
		return known != nil && (known.Phase == fault.Session || known.Hop == fault.Client)
	}
	return f.list.Private && f.key.Scope == ""
}

// Alone returns the list of that key from a walk for this caller alone: it is neither taken from memory nor kept, and nobody joins it. It is
// for lists that depend on more than a key holds.
func (c *Catalogue) Alone(ctx context.Context, key Key, s *table.Server, src Source) (*List, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	f, err := c.beginLocked(key, s, src, nil)
	if err == nil {
		f.alone = true
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.wait(ctx, f)
}

// join returns the walk under way for a key, or begins one. A walk that began before the server told a change isn't joined.
func (c *Catalogue) join(key Key, s *table.Server, src Source) (f *flight, joined bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, closing(s)
	}
	now := c.elapsed()
	if e := c.lists.get(&key); e != nil && !e.dead(now) { // came in between
		return landed(e.list), false, nil
	}
	w := c.watchLocked(key, s, src, now)
	if f = c.flights[key]; f != nil && f.stamp.fresh(key.Kind) {
		return f, true, nil
	}
	if f, err = c.beginLocked(key, s, src, w); err != nil {
		return nil, false, err
	}
	c.flights[key] = f
	return f, false, nil
}

// beginLocked begins a walk. It is handed over before c.mu is let go.
func (c *Catalogue) beginLocked(key Key, s *table.Server, src Source, w *watch) (*flight, error) {
	switch {
	case c.closed:
		return nil, closing(s)
	case c.walks >= mostWalks:
		return nil, busy(s)
	case c.walking[key.Server] >= mostWalksOf:
		return nil, busyWith(s)
	}
	now := c.elapsed()
	if err := c.lateLocked(lateKey{key.Server, key.Kind, key.Scope}, s, now); err != nil {
		return nil, err
	}
	f := &flight{key: key, server: s, src: src, began: now, until: now + limitOf(s), at: c.start.Add(now), stamp: c.stampLocked(key, w), done: make(chan struct{})}
	c.walks++
	c.walking[key.Server]++
	c.work.Add(1)
	go c.fly(f)
	return f, nil
}

func limitOf(s *table.Server) time.Duration {
	if s.Timeouts.List <= 0 {
		return longestWalk
	}
	return s.Timeouts.List
}

// landed is a walk that is over.
func landed(l *List) *flight {
	f := &flight{list: l, done: make(chan struct{})}
	close(f.done)
	return f
}

// fly makes the walk, hands over what it brought, and ends the source.
func (c *Catalogue) fly(f *flight) {
	defer c.work.Done()
	defer c.over(f)
	defer c.end(f)
	tells := false
	f.err = defect(f.server, nil)
	defer func() {
		if p := recover(); p != nil {
			c.panicked(f, p)
			f.list, f.err = nil, defect(f.server, fmt.Errorf("panic: %v", p))
		}
		c.land(f, tells)
		close(f.done)
	}()
	ctx, cancel := context.WithTimeout(c.ctx, limitOf(f.server))
	defer cancel()
	list, cost, err := c.walk(ctx, f)
	c.timed(ctx, f, err)
	if err == nil {
		tells = f.src.TellsChanges(f.key.Kind)
		c.judge(f, list)
	}
	f.list, f.cost, f.err = list, cost, err
}

// end closes the source, for whose sake nobody waits.
func (c *Catalogue) end(f *flight) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(f, p)
		}
	}()
	src, ok := f.src.(io.Closer)
	if !ok {
		return
	}
	if err := src.Close(); err != nil {
		c.log.Debug("the end of a walk couldn't be told", "server", f.server.Name, "error", err)
	}
}

func (c *Catalogue) over(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.walks--
	if c.walking[f.key.Server]--; c.walking[f.key.Server] == 0 {
		delete(c.walking, f.key.Server)
	}
}

func (c *Catalogue) panicked(f *flight, p any) {
	c.log.Error("a walk of the catalogue panicked", "server", f.server.Name, "method", f.key.Kind.Method(), "panic", p, "stack", string(debug.Stack()))
}
