// Package catalogue keeps what servers list: their tools, prompts, resources and resource templates, whole, in memory.
//
// It promises that a list is asked for once, whoever asks for it at the same time and whoever of them leaves first; that what is found in
// memory costs no lock and no allocation; that a list isn't served longer than its server allows, nor after the server said that it changed,
// nor while nobody hears whether it says so; that what is private to one caller stays with this caller; and that a pinned tool whose
// definition changed is told once. It refuses lists without an end: pages, items, bytes and time of a walk are bounded, and so are the bytes
// of all lists, the walks under way and the streams it holds open.
package catalogue

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/confset"
)

const (
	// maxBytes is the default of Config.MaxBytes.
	maxBytes = 128 << 20
	// sweepEvery is how often Run drops lists. idleAfter is when one counts as not used any more, as those of a config that is gone.
	sweepEvery = time.Minute
	idleAfter  = 10 * time.Minute
)

// Key is what a list depends on.
type Key struct {
	// Server is the hash of the config by which the server is called (table.Server.Hash).
	Server confset.Hash
	Kind   Kind
	Era    message.Era
	// Capabilities is a digest of what the client can do, because servers may list by it.
	Capabilities uint64
	// Revision is the legacy one that is spoken with the server, because servers list by it too; empty in revision 2026-07-28.
	Revision string
	// Scope is the id of the principal for whom the list is; empty: for each to whom the server is open.
	Scope string
}

// List is a server's whole list. It is shared: read only.
type List struct {
	// Items are sorted by name; of two with one name the first one counts.
	Items []message.Item
	// Nameless is how many items the server lists beside these of which none has a name that it could be called by, and Twice how many have
	// the name of another one.
	Nameless, Twice int
	// TTL is how long the list is served from memory; 0: not at all. With several pages it is the shortest.
	TTL time.Duration
	// Private: the server says that the list is for this caller only.
	Private bool
	// Fetched is when the walk began.
	Fetched time.Time
	// Drifted are the names of the pinned tools whose definition isn't the pinned one, hidden or not; nil: none.
	Drifted map[string]struct{}
}

// Find returns the item with that name.
func (l *List) Find(name string) (*message.Item, bool) {
	i, ok := slices.BinarySearchFunc(l.Items, name, func(it message.Item, name string) int { return strings.Compare(it.Name, name) })
	if !ok {
		return nil, false
	}
	return &l.Items[i], true
}

// Names yields the names in their order.
func (l *List) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range l.Items {
			if !yield(l.Items[i].Name) {
				return
			}
		}
	}
}

// Source is how one server is asked, with the credential of whom the list is for. It outlives the request of the caller who gave it, so it
// must hold nothing of it. Its methods may be called at the same time.
type Source interface {
	// Page asks for one page; an empty cursor is the first one. It returns the JSON-RPC response, whole, and ends when ctx does. The answer
	// isn't looked at any more when the next page is asked for. It calls Reserve for what it reads. ErrUnanswered says how it may have ended.
	Page(ctx context.Context, kind Kind, cursor string) (answer []byte, err error)
	// TellsChanges says whether the server tells when that list changes. It is asked after the last page.
	TellsChanges(kind Kind) bool
	// Watch holds a stream open on which the server tells changes, and blocks until that ends or ctx does. It calls changed(Any) as soon as
	// the stream stands, and changed(kind) for each change: lists are kept only from the first call on. errors.ErrUnsupported: the server
	// has no such stream. Watch doesn't reconnect.
	Watch(ctx context.Context, changed func(Kind)) error
}

// Config of a Catalogue. The zero value is good.
type Config struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Log gets what went wrong beside a walk. Default: none.
	Log *slog.Logger
	// MaxBytes bounds what is kept. Default: 128 MiB. Answers of walks under way may hold twice as much beside it.
	MaxBytes int64
	// Drifted (may be nil) is called when the definition of a pinned tool isn't the pinned one any more (now), and when it is again: once per
	// change, and at most once a minute for one tool: of a server that can't make up its mind what holds then is told. It is called from one
	// goroutine at a time, and must neither block nor call the catalogue.
	Drifted func(server, tool string, now bool)
	// Pin is what the config in force pins a server's tool to; empty: to nothing, or there is no such server. With nil only lists show that a pin
	// was renewed. It must not call the catalogue.
	Pin func(server, tool string) string
}

// Catalogue holds the lists of all servers. Make one with New; safe for concurrent use.
type Catalogue struct {
	now    func() time.Time // nil: the process' own clock
	start  time.Time
	log    *slog.Logger
	ctx    context.Context // of walks and watches
	cancel context.CancelFunc
	work   sync.WaitGroup // of walks and watches; Add under mu, while not closed
	lists  store
	drift  drift
	room   int64        // bytes that answers of walks under way may hold
	flying atomic.Int64 // bytes that they hold

	mu      sync.Mutex
	closed  bool                       // guarded by mu
	walks   int                        // under way; guarded by mu
	walking map[confset.Hash]int       // the same by server; guarded by mu
	flights map[Key]*flight            // walks that may be joined; guarded by mu
	changes map[confset.Hash]*changes  // of servers with lists or walks; guarded by mu
	asked   map[Key]time.Duration      // until when another request opens a watch; guarded by mu
	watches map[watchKey]*watch        // guarded by mu
	late    map[lateKey]lateness       // servers that ran out of time; guarded by mu
	barred  map[watchKey]time.Duration // until when no watch is tried; guarded by mu
}

// New returns an empty catalogue. End it with Close, or by the end of Run.
func New(cfg Config) *Catalogue {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = maxBytes
	}
	c := &Catalogue{now: cfg.Now, start: time.Now(), log: cfg.Log, room: max(2*cfg.MaxBytes, 2*mostBytes),
		walking: make(map[confset.Hash]int), flights: make(map[Key]*flight), changes: make(map[confset.Hash]*changes), asked: make(map[Key]time.Duration),
		watches: make(map[watchKey]*watch), barred: make(map[watchKey]time.Duration), late: make(map[lateKey]lateness)}
	if cfg.Now != nil {
		c.start = cfg.Now()
	}
	c.lists.init(cfg.MaxBytes)
	c.drift.tell, c.drift.pin = cfg.Drifted, cfg.Pin
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// elapsed is the time since New.
func (c *Catalogue) elapsed() time.Duration {
	if c.now == nil {
		return time.Since(c.start)
	}
	return c.now().Sub(c.start)
}

// Run drops what is out of date or wasn't used for 10 minutes, until ctx ends; then it closes the catalogue.
func (c *Catalogue) Run(ctx context.Context) {
	defer c.Close()
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.sweep()
		}
	}
}

// Close ends all walks and watches, and returns when they are over. Who waits for a walk gets a fault.
func (c *Catalogue) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
}

// Peek returns the list of that key if it is in memory. It takes no lock.
func (c *Catalogue) Peek(key Key) (*List, bool) {
	e := c.lists.get(&key)
	if e == nil {
		return nil, false
	}
	now := c.elapsed()
	if now >= e.until || !e.stamp.fresh(key.Kind) {
		return nil, false
	}
	e.touch(now)
	return e.list, true
}

// Changed says that a list of a server changed, or may have changed unheard (Any: each of them): those in memory aren't served any more, and
// those being fetched aren't kept. Its cost doesn't grow with what is in memory.
func (c *Catalogue) Changed(server confset.Hash, kind Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.changes[server]; ch != nil {
		ch.tell(kind)
	}
}

func (c *Catalogue) sweep() {
	now := c.elapsed()
	c.drift.settle(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.late, func(_ lateKey, l lateness) bool { return now-l.until > idleAfter })
	c.dropLocked(func(e *entry) bool { return e.dead(now) || now-e.lastUsed() > idleAfter })
	maps.DeleteFunc(c.asked, func(_ Key, until time.Duration) bool { return now >= until })
	maps.DeleteFunc(c.barred, func(_ watchKey, until time.Duration) bool { return now >= until })
}
