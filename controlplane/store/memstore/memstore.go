// Package memstore is a store in memory: for tests, and as the plainest statement of what a store does.
//
// It promises the same semantics as etcdstore for every call of store.Store, any number of concurrent watchers, and switches that force what
// an operator can't wait for: compaction, a new epoch, a wiped store, unavailability, a commit whose outcome is unknown, a lost note. Several
// handles (Replica) may share one content, as control plane replicas share an etcd. It refuses to be a database: nothing is written to disk.
package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
)

// RequestLife is how long a request id is remembered.
const RequestLife = 24 * time.Hour

// DefaultLimits are those of an embedded etcd.
var DefaultLimits = store.Limits{Objects: 1000, Bytes: 3 << 19}

// Store is one handle on a content in memory. Its methods may be called at the same time.
type Store struct {
	c      *content
	closed chan struct{}
	once   sync.Once

	epoch   string // what this handle loaded last; guarded by c.mu
	atWork  bool   // guarded by c.mu
	stalled bool   // its meetings hear nothing and say nothing; guarded by c.mu
}

var _ store.Store = (*Store)(nil)

// content is what all handles share.
type content struct {
	mu        sync.Mutex
	epoch     string
	limits    store.Limits
	now       func() time.Time
	revision  int64
	compacted int64 // events below are gone
	heads     map[confset.Key]store.Head
	bodies    map[confset.Hash][]byte
	changes   map[string]*store.ChangeRecord
	order     []string // change ids, ascending
	newest    string   // change of the newest commit
	requests  map[string]request
	events    []store.Event // revision ascending
	changed   chan struct{} // closed and replaced at every change of anything above
	attending int           // handles at work
	notes     []*note       // of all meetings, oldest first
	said      int64         // counts changes of notes

	down     error  // what every call fails with
	outcomes []bool // one per coming commit; see Ambiguous
}

type request struct {
	change string
	until  time.Time
}

// New returns an empty store with the limits of an embedded etcd.
func New() *Store {
	c := &content{limits: DefaultLimits, now: time.Now, changed: make(chan struct{})}
	c.wipe()
	return c.handle()
}

func (c *content) handle() *Store {
	return &Store{c: c, closed: make(chan struct{}), epoch: c.epoch}
}

func (c *content) wipe() {
	c.epoch = newEpoch()
	c.revision, c.compacted = 1, 0
	c.heads = map[confset.Key]store.Head{}
	c.bodies = map[confset.Hash][]byte{}
	c.changes = map[string]*store.ChangeRecord{}
	c.requests = map[string]request{}
	c.order, c.newest, c.events, c.notes = nil, "", nil, nil
	c.said++
}

func newEpoch() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

func (c *content) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// errClosed is what calls on a closed handle fail with.
var errClosed = fmt.Errorf("%w: this handle is closed", store.ErrUnavailable)

// enter locks the content unless the handle is closed, the store is down or ctx has ended.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.c.mu.Lock()
	if err := s.stoppedLocked(); err != nil {
		s.c.mu.Unlock()
		return err
	}
	return nil
}

func (s *Store) stoppedLocked() error {
	select {
	case <-s.closed:
		return errClosed
	default:
		return s.c.down
	}
}

// Epoch returns the epoch this handle loaded last.
func (s *Store) Epoch() string {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.epoch
}

// Limits says how much one commit may hold.
func (s *Store) Limits() store.Limits {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.limits
}

// Close ends this handle and its watches; other handles go on. It may be called more than once.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
