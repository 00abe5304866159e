package catalogue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

const (
	// mostWatches bounds the streams held open. mostViews bounds those of one server for one scope: clients differ in what they can do, and say
	// so themselves.
	mostWatches = 1000
	mostViews   = 32
	// watchIdle is after how long without use a watch is closed.
	watchIdle = 5 * time.Minute
	// backoffLeast and backoffMost bound the pause before a stream is opened again.
	backoffLeast = time.Second
	backoffMost  = 30 * time.Second
	// barredFor is how long a server without such a stream isn't asked for one. mostBarred bounds of how many that is remembered.
	barredFor  = 10 * time.Minute
	mostBarred = 10_000
)

// watchKey is one view of a server: what tells its lists apart, but for their kind.
type watchKey struct {
	server       confset.Hash
	era          message.Era
	capabilities uint64
	scope        string
}

func (k Key) watch() watchKey { return watchKey{k.Server, k.Era, k.Capabilities, k.Scope} }

// watch holds a stream open on which a server tells changes. Its counts move on with each change, and whenever the stream begins or ends.
type watch struct {
	changes
	key    watchKey
	name   string // of the server
	src    Source // of who fetched a list last; guarded by Catalogue.mu
	used   atomic.Int64
	stands atomic.Bool

	mu   sync.Mutex  // of those who move stands
	idle *time.Timer // guarded by mu
}

// watchLocked returns the watch for a key, if there is one, or begins it when the key was asked for lately.
func (c *Catalogue) watchLocked(key Key, s *table.Server, src Source, now time.Duration) *watch {
	wk := key.watch()
	w := c.watches[wk]
	if w != nil {
		w.src = src
		return w
	}
	until, asked := c.asked[key]
	if !asked {
		return nil
	}
	delete(c.asked, key)
	if now >= until || now < c.barred[wk] || len(c.watches) >= mostWatches || c.viewsLocked(wk) >= mostViews {
		return nil
	}
	w = &watch{key: wk, name: s.Name, src: src}
	w.used.Store(int64(now))
	c.watches[wk] = w
	c.work.Add(1)
	go c.keepWatch(w)
	return w
}

// viewsLocked is how many watches there are of a server for one scope.
func (c *Catalogue) viewsLocked(of watchKey) (n int) {
	for k := range c.watches {
		if k.server == of.server && k.scope == of.scope {
			n++
		}
	}
	return n
}

// keepWatch holds the stream open until nobody uses it, or the catalogue closes.
func (c *Catalogue) keepWatch(w *watch) {
	defer c.work.Done()
	defer c.endWatch(w)
	ctx, cancel := context.WithCancel(c.ctx)
	defer w.stopIdle()
	defer cancel()
	c.startIdle(ctx, w, cancel)
	pause := backoffLeast
	for {
		stood, err := c.hear(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errors.ErrUnsupported) {
			c.log.Debug("a server has no stream on which it tells changes of its lists", "server", w.name)
			c.bar(w.key)
			return
		}
		c.log.Debug("a stream on which a server tells changes of its lists ended", "server", w.name, "after", stood, "error", err)
		if stood >= backoffMost {
			pause = backoffLeast
		}
		pause = min(backoffMost, backoffLeast+rand.N(3*pause-backoffLeast)) // decorrelated jitter
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// startIdle ends a watch when it wasn't used for watchIdle.
func (c *Catalogue) startIdle(ctx context.Context, w *watch, cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = time.AfterFunc(watchIdle, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if left := watchIdle - (c.elapsed() - time.Duration(w.used.Load())); left > 0 {
			w.idle.Reset(left)
			return
		}
		cancel()
	})
}

// stopIdle is called after the watch's context ended, so the timer isn't set again.
func (w *watch) stopIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle.Stop()
}

// hear holds one stream open, and returns when it ended and for how long it stood.
func (c *Catalogue) hear(ctx context.Context, w *watch) (stood time.Duration, err error) {
	c.mu.Lock()
	src := w.src
	c.mu.Unlock()
	var opened time.Duration
	over := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.log.Error("a watch of the catalogue panicked", "server", w.name, "panic", p, "stack", string(debug.Stack()))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		over = true
		if w.stands.Load() {
			stood = c.elapsed() - opened
		}
		w.stands.Store(false) // first this, then the counts: see stampLocked
		w.tell(Any)
	}()
	return 0, src.Watch(ctx, func(kind Kind) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case over:
		case !w.stands.Load():
			opened = c.elapsed()
			w.tell(Any)
			w.stands.Store(true)
		default:
			w.tell(kind)
		}
	})
}

func (c *Catalogue) endWatch(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w.key)
}

// bar remembers that a server has no such stream.
func (c *Catalogue) bar(key watchKey) {
	now := c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.barred) < mostBarred {
		c.barred[key] = now + barredFor
	}
}
