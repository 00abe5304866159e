// Package etcdstore keeps the desired config in etcd: in a member embedded in this process, or in a cluster.
//
// It promises what store.Store promises. It refuses to write without a precondition, to reuse a change id for another change, to open a data
// directory that another process has open, and to hand out a body that isn't what its hash says. etcd 3.5.8 or later is needed (older ones
// may send progress ahead of events).
//
// # Keys
//
// Everything lives under /hopgate/v1/default/:
//
//	meta/epoch            ULID; written by bootstrap, and again when a restore shows (another cluster id or a lower revision, same epoch)
//	meta/head             id of the newest change
//	meta/restore          ULID of a restore that isn't complete; while it is there, there is no epoch and the store can't be loaded
//	spec/<kind>/<name>    desired head as JSON: schema, uid, generation, hash, size, created, updated, change, owner
//	obj/<sha256>          a body; never rewritten with other content, never deleted
//	change/<ulid>         change record as JSON; written once
//	request/<id>          change id; leased, gone after 24 to 25 hours
//	fence/<ulid>          a change that may never be stored any more; leased
//	replica/<name>/<id>   a control plane at work, in a cluster; empty; leased, gone 10 s after it was last heard of
//	meeting/<name>/<id>   what a control plane says to the others; in a cluster leased, gone 5 s after it was last heard of
//
// # A commit and its ambiguous outcomes
//
// One transaction compares the epoch and the mod revision of every object named, and requires that change/<id> and fence/<id> don't exist; it
// puts heads, record, newest change, request id and, if they fit, the bodies. Bodies that don't fit are put before it: they are named by their
// content, so a body without a head harms nobody.
//
// A transaction whose answer was lost (timeout, leader change, broken connection) may have been applied, may be applied later, or never.
// Two facts make that harmless:
//
//   - It is stored at most once, because it requires that its own change doesn't exist. So the same transaction may be sent again:
//     finding change/<id> means that an earlier sending was applied, and its revision is the result.
//   - It can be ruled out. When time is up, or when an attempt was refused while an earlier one may still be under way, one transaction puts
//     fence/<id> provided that change/<id> doesn't exist. etcd orders all transactions: either the change was first, and the commit is
//     reported as done, or the fence was, and no late copy of the change can pass any more; the error then wraps store.ErrUnavailable (or is
//     the refusal) and is final. The fence's lease outlives every copy that could still be on its way.
//
// Only when the fence's outcome can't be learned either is the answer store.AmbiguousError; the caller asks Change later, or commits the same
// write again.
//
// # The watch
//
// One etcd watch on the whole prefix, from the next revision, requiring a leader. etcd never splits a revision over two answers (and
// fragments, which would, aren't asked for), so the events of one revision are folded into one store.Event with all heads of that
// transaction, its removals and its record. Bodies come along in the same watch; one that doesn't is fetched by its hash. Progress is
// asked for all the time: silence ends the watch with store.ErrUnavailable, and a prefix that is idle while others write isn't lost to
// compaction. Another epoch, another cluster id or a lower revision ends it with store.ErrEpoch.
//
// # Who is at work
//
// Each control plane at work in a cluster keeps a leased key; all read all keys again when one comes or goes, and every few seconds. One that
// begins removes the keys of its own name first: they are what a process left that was killed a moment ago. Two that bear one name count as
// two all the same, because whoever is at work and misses its key puts it back. A member inside the process is locked to it and so
// counts itself, without a key.
//
// # Who leads
//
// Each control plane that meets the others keeps a leased key with its note, and hears of all from one watch. The key that was created first is
// the leader's; its name and creation revision are its fence. A write with a fence compares that revision in its transaction, so etcd itself
// refuses one that doesn't lead any more, however late the write arrives. Whoever couldn't renew its lease for two thirds of it says so itself,
// before anybody else can lead. Idle, it costs one renewal per third of the lease, which isn't written to etcd's log; but each new text of a
// note is, so notes change seldom. A member inside the process meets nobody: its key is empty and has no lease, and notes cost nothing.
package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Store is a store in etcd. Make one with Embedded or Cluster, then Open it. Its methods may be called at the same time.
type Store struct {
	backend backend // read-only
	bodies  *cache

	life context.Context // ends with Close
	end  context.CancelFunc

	replica ulid.ULID   // this handle among those at work; read-only
	settled atomic.Bool // it took the place of those of its name

	opening sync.Mutex // held by Open and Close
	client  atomic.Pointer[clientv3.Client]

	mu          sync.Mutex
	incarnation incarnation // what was loaded last; guarded by mu
	quiet       span        // guarded by mu
	lease       lease       // guarded by mu
}

var _ store.Store = (*Store)(nil)

// backend is where etcd is and what it takes.
type backend struct {
	start func(context.Context) (*clientv3.Client, error)
	stop  func()
	ready func(context.Context, *clientv3.Client) error // nil: a request can be sent now
	log   *slog.Logger

	alone        bool          // nobody else can have this etcd
	attendFor    time.Duration // how long a handle counts after it was last heard of
	meetFor      time.Duration // how long its note is there after that
	limits       store.Limits
	maxOps       int           // per transaction
	requestBytes int           // per transaction
	pageHeads    int64         // per read of a load
	commitWithin time.Duration // until a commit's outcome is known or unknown
	readWithin   time.Duration // per request
	progress     time.Duration // between two requests for progress of a watch
	silence      time.Duration // after which a watch is given up
}

// incarnation is one life of the stored data, as far as it can be told from outside.
type incarnation struct {
	epoch   string
	cluster uint64
	newest  int64 // highest revision seen
}

// span is a range of revisions without an event of ours: a watch from its start may begin at its end.
type span struct{ from, to int64 }

func newStore(b backend) *Store {
	b.pageHeads, b.attendFor, b.meetFor = pageHeads, attendFor, meetFor
	s := &Store{backend: b, bodies: newCache(cacheBytes), replica: ulid.MustNew(ulid.Now(), rand.Reader)}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

var (
	errClosed  = fmt.Errorf("%w: closed", store.ErrUnavailable)
	errNotOpen = fmt.Errorf("%w: not opened yet", store.ErrUnavailable)
)

// Open starts or reaches etcd and writes the epoch into a new store. It fails with an error wrapping store.ErrUnavailable when etcd doesn't
// answer; calling it again tries again. Opening an open store does nothing.
func (s *Store) Open(ctx context.Context) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	switch {
	case s.life.Err() != nil:
		return errClosed
	case s.client.Load() != nil:
		return nil
	}
	client, err := s.backend.start(ctx)
	if err != nil {
		return err
	}
	if _, err := s.adopt(ctx, client); err != nil {
		return errors.Join(err, s.shut(client))
	}
	s.client.Store(client)
	return nil
}

// Epoch returns the epoch loaded last; empty before Open.
func (s *Store) Epoch() string { return s.known().epoch }

// Limits says how much one commit may hold.
func (s *Store) Limits() store.Limits { return s.backend.limits }

// Close ends running watches and calls, releases connections and stops an embedded member. It may be called more than once.
func (s *Store) Close() error {
	s.end()
	s.opening.Lock()
	defer s.opening.Unlock()
	client := s.client.Swap(nil)
	if client == nil {
		return nil
	}
	return s.shut(client)
}

func (s *Store) shut(client *clientv3.Client) error {
	err := ignoreCanceled(client.Close())
	s.backend.stop()
	if err != nil {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

// ignoreCanceled drops what closing a client reports when all went well.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (s *Store) opened() (*clientv3.Client, error) {
	if client := s.client.Load(); client != nil {
		return client, nil
	}
	if s.life.Err() != nil {
		return nil, errClosed
	}
	return nil, errNotOpen
}

func (s *Store) known() incarnation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incarnation
}

// seen remembers the highest revision, to notice when a store goes back in time.
func (s *Store) seen(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation.newest = max(s.incarnation.newest, revision)
}

// bound gives ctx the deadline of one request and ties it to the store's life.
func (s *Store) bound(ctx context.Context, within time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, within)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}
