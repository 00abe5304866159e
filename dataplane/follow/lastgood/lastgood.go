// Package lastgood keeps the last good config of a data plane on disk, so that it starts and serves without a control plane.
//
// A generation is one encrypted file: a snapshot of the good config, then a journal of what came after: each change (pending until it has
// proven itself), marks that a config is good, that the process stopped cleanly, that it came back. Every record is sealed with the node's
// own key and bound to its file and its place in it, so that none can be forged, moved, left out in the middle or mixed between files.
// A change costs one append and one fsync, whatever the size of the whole; compaction writes the next generation in the background.
//
// It promises to start from any bytes without a panic: a journal that breaks off counts up to the break, a damaged snapshot counts for
// nothing and the generation before it is used, and with none left the store starts empty. The crash rule lives here: a process that ended
// without a clean stop while its newest config was still pending starts on the good one, and that newest config is the suspect.
//
// It refuses to keep config from being served: every error is for the caller to report, and a store that couldn't write tries a whole new
// generation later. It refuses a second process on the same directory.
package lastgood

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// State is what a process starts with.
type State struct {
	// Set to serve: the newest good config, or the newest applied one when the last stop was clean. Empty when there was none.
	Set *confset.Set
	// Version of Set; the zero Version when nothing was kept.
	Version table.Version
	// Suspect is the config under which the process ended without a clean stop before it was good; nil when there is none.
	Suspect *Suspect
	// Problems say what was wrong on disk and what was done about it.
	Problems []string
}

// Suspect is a config that may have crashed the process.
type Suspect struct {
	Version table.Version
	Tries   int // how often it was tried again since
}

// point is a config at one time; a nil set is none.
type point struct {
	set     *confset.Set
	version table.Version
	since   time.Time // in force in this process; only of what is pending
}

// mostPending bounds the configs that may each become good by itself; of more, those that came in quick succession become good together.
const mostPending = 16

// Store is the open directory. Its methods are safe for concurrent use.
type Store struct {
	dir    string
	sealer sealer
	unlock func()

	mu sync.Mutex // guards what follows
	// good is proven; pending are those that came after it, oldest first: the last one serves.
	good    point
	pending []point
	suspect *Suspect

	file     *journal // nil while writing is broken
	retryAt  time.Time
	problem  error  // why file is nil
	baseSize int64  // what the file began with
	newest   uint64 // highest number a generation had
	serving  uint64 // number of the generation in use

	since      []record // written while a compaction runs
	compacting bool
	closed     bool

	closing    atomic.Bool
	compaction sync.WaitGroup
}

// retryAfter is how long a store that couldn't write waits until it tries a new generation.
const retryAfter = 10 * time.Second

// Open opens the store in dir, which is made with mode 0700 if it isn't there, and applies the crash rule. It fails only when the
// directory can't be used at all: not made, not locked, no node key. Damaged content is a Problem, not an error.
func Open(dir string) (*Store, State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, State{}, fmt.Errorf("state directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, State{}, err
	}
	s := &Store{dir: dir, unlock: unlock}
	var state State
	if s.sealer, state.Problems, err = nodeKey(dir); err != nil {
		unlock()
		return nil, State{}, err
	}
	s.recover(&state)
	return s, state, nil
}

// Append keeps the change that leads to next as pending, on disk when it returns nil. After an error the change counts in memory, and the
// next success brings the disk up to date.
func (s *Store) Append(d confset.Delta, next *confset.Set, v table.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = thinned(append(s.pending, point{next, v, time.Now()}))
	if s.suspect != nil && s.suspect.Version.Digest != v.Digest {
		s.suspect = nil
	}
	return s.writeLocked(deltaRecords(d, v)...)
}

// thinned leaves out one of too many: the one whose neighbours are nearest to each other in time; never the oldest or the newest.
func thinned(pending []point) []point {
	if len(pending) <= mostPending {
		return pending
	}
	gap := func(i int) time.Duration { return pending[i+1].since.Sub(pending[i-1].since) }
	out := 1
	for i := range len(pending) - 2 {
		if gap(i+1) < gap(out) {
			out = i + 1
		}
	}
	return slices.Delete(pending, out, out+1)
}

// Candidate returns the oldest version that is pending. False when nothing is.
func (s *Store) Candidate() (table.Version, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return table.Version{}, false
	}
	return s.pending[0].version, true
}

// MarkGood says that a pending version has proven itself, and with it all before it. What was applied later stays pending.
func (s *Store) MarkGood(v table.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.pending {
		if s.pending[i].version == v {
			return s.markGoodLocked(i)
		}
	}
	return fmt.Errorf("revision %d is not pending and can't be marked good", v.Revision)
}

// MarkGoodSince says that whatever came into force at a time or before has proven itself: the newest of it is good now. Where nothing is
// pending from before, nothing is written; marked is false.
func (s *Store) MarkGoodSince(at time.Time) (marked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range slices.Backward(s.pending) {
		if !p.since.After(at) {
			return true, s.markGoodLocked(i)
		}
	}
	return false, nil
}

func (s *Store) markGoodLocked(i int) error {
	s.good, s.pending = s.pending[i], slices.Clone(s.pending[i+1:])
	v := s.good.version
	if s.suspect != nil && s.suspect.Version.Digest == v.Digest {
		s.suspect = nil
	}
	return s.writeLocked(record{kind: kindGood, version: v})
}

// Suspect returns the config that may have crashed the process, or nil.
func (s *Store) Suspect() *Suspect {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspect == nil {
		return nil
	}
	c := *s.suspect
	return &c
}

// Absolve forgets the suspect, on disk too: nobody wants it served any more. It does nothing when there is none.
func (s *Store) Absolve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspect == nil {
		return nil
	}
	s.suspect = nil
	return s.writeLocked(record{kind: kindSuspect})
}

// Retry counts, on disk, that the suspect is about to be tried again.
func (s *Store) Retry() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspect == nil {
		return errors.New("there is no suspect to try again")
	}
	s.suspect.Tries++
	return s.writeLocked(record{kind: kindSuspect, version: s.suspect.Version, tries: s.suspect.Tries})
}

// MarkClean says that the process stops by its own will: what is pending is no suspect.
func (s *Store) MarkClean() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(record{kind: kindClean})
}

// Close ends a running compaction, closes the file and frees the directory. It writes nothing: without MarkClean it is like a crash.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.closing.Store(true)
	s.compaction.Wait()
	defer s.unlock()
	if s.file == nil {
		return nil
	}
	return s.file.close()
}

// writeLocked puts records on disk.
func (s *Store) writeLocked(recs ...record) error {
	if s.closed {
		return errors.New("the store is closed")
	}
	if s.compacting {
		s.since = append(s.since, recs...)
	}
	if s.file == nil {
		return s.restoreLocked(recs)
	}
	if err := s.file.append(recs); err != nil {
		s.breakLocked(err)
		return fmt.Errorf("last good config: %w", err)
	}
	if s.file.size > 2*s.baseSize+compactFrom {
		s.compactLocked()
	}
	return nil
}

// breakLocked gives up the file: what it ends with is unknown, so only a new generation may be written.
func (s *Store) breakLocked(err error) {
	if s.file != nil {
		s.file.close()
	}
	s.file, s.problem, s.retryAt = nil, err, time.Now().Add(retryAfter)
}

// restoreLocked tries a whole new generation after a failure. The state in memory already has what recs say, but for marks, which follow.
func (s *Store) restoreLocked(recs []record) error {
	if time.Now().Before(s.retryAt) || s.compacting {
		return fmt.Errorf("last good config, waiting to write it anew: %w", s.problem)
	}
	if err := s.beginLocked(); err != nil {
		s.breakLocked(err)
		return fmt.Errorf("last good config, written anew: %w", err)
	}
	if recs[len(recs)-1].kind != kindClean {
		return nil
	}
	return s.file.append(recs)
}
