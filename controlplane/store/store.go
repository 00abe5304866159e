// Package store keeps the desired config: compare-and-set writes, a change log and a watch that resumes.
//
// It promises that a commit is atomic and either acknowledged or known by its change id afterwards, that every write leaves a change
// record, and that a watch delivers every event once, in revision order. It refuses blind writes: every commit names what it expects.
// Implementations: etcdstore (embedded or a cluster) and memstore (tests); storetest is the contract both pass.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

// Head is the desired state of one object: what spec/<kind>/<name> holds, with its body.
type Head struct {
	Object     confset.Object
	Generation int64     // counts changes of the body, from 1
	Created    time.Time // of this uid
	Updated    time.Time
	Change     string // id of the change that last touched it
	Owner      string // file that owns it, or empty
	Set        string // set that it was applied with, or empty
	Revision   int64  // store revision of the last write: the etag's source
}

// Snapshot is every head at one revision.
type Snapshot struct {
	Epoch    string
	Revision int64
	Heads    []Head
	// Traceparent and Change of the newest change at that revision; empty in a new store.
	Change *ChangeRecord
}

// Event is one committed transaction as a watcher sees it: all its heads together.
type Event struct {
	Revision int64
	Upserts  []Head
	Removals []confset.Key
	Change   *ChangeRecord // the record committed with it; nil for bootstrap writes
}

// Precondition says what a write expects of one object.
type Precondition struct {
	Key confset.Key
	// Revision the head must have; 0: it must not exist.
	Revision int64
}

// Write is one atomic change. Every key in Puts and Deletes has exactly one precondition.
type Write struct {
	// Record is stored under change/<id>; its ID (a ULID) was chosen by the caller before the write, so that an ambiguous outcome can be
	// looked up afterwards.
	Record ChangeRecord
	// RequestID, when set, maps to Record.ID for 24 hours in the same transaction.
	RequestID string
	// Epoch the preconditions were read in; empty: whatever this store handle loaded last.
	Epoch   string
	Expect  []Precondition
	Puts    []Head // Revision is ignored; Change is set to Record.ID
	Deletes []confset.Key
	// Fence, unless it is zero, must still stand: the write happens only while the meeting's note that it came from is there.
	Fence Fence
}

// Fence is the proof of who leads a meeting. It falls when that note goes, for example because its lease ended; a write with it then fails with
// ErrFenced.
type Fence struct {
	Key     string
	Created int64 // revision
}

// Meeting is the talk of the control planes on one store.
type Meeting struct {
	// Name is for people; it may be the same as another's.
	Name string
	// Note returns what this one has to say, at most 64 KiB. It is asked at the start and whenever Turned gets a value.
	Note   func() []byte
	Turned <-chan struct{}
	// Heard gets all notes, oldest first, whenever one came, changed or went: the first one leads. It is called by one goroutine at a time and
	// mustn't block.
	Heard func(notes []Note)
}

// Note is what one control plane says to the others.
type Note struct {
	Name  string
	Text  []byte
	Own   bool
	Fence Fence // of this note
}

// Result tells at which revision a write was committed.
type Result struct{ Revision int64 }

// ChangeRecord is one immutable entry of the change log.
type ChangeRecord struct {
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Author      string    `json:"author"`
	Message     string    `json:"message,omitempty"`
	Parent      string    `json:"parent,omitempty"`
	Traceparent string    `json:"traceparent,omitempty"`
	RequestID   string    `json:"request_id,omitempty"`
	Reverts     string    `json:"reverts,omitempty"` // id of the change that it undoes
	Objects     []Changed `json:"objects"`
	// Revision is filled on reading.
	Revision int64 `json:"-"`
}

// Changed is one object in a change: hashes only, bodies are under obj/<hash>.
type Changed struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
	Before string `json:"before,omitempty"` // hex; empty when created
	After  string `json:"after,omitempty"`  // hex; empty when deleted
	// SetBefore and SetAfter are the set it belonged to and belongs to.
	SetBefore string `json:"set_before,omitempty"`
	SetAfter  string `json:"set_after,omitempty"`
	Pruned    bool   `json:"pruned,omitempty"` // deleted because its set doesn't name it any more
}

// Store is the desired config of one fleet.
type Store interface {
	// Load returns every head at one revision.
	Load(ctx context.Context) (*Snapshot, error)
	// Watch calls emit for every event after revision from, in order, until ctx ends (its error), emit fails (that error), or the store can't
	// go on: ErrCompacted or ErrEpoch (load again), or an error wrapping ErrUnavailable (try again later from the last revision).
	Watch(ctx context.Context, from int64, emit func(Event) error) error
	// Commit writes all or nothing. Errors: *ConflictError, *LimitError, *DuplicateRequestError, ErrEpoch, or one wrapping ErrUnavailable
	// after which the outcome was looked up and is known not to have happened, or *AmbiguousError when even that couldn't be learned.
	// A write whose change is already stored is done: committing it again returns its revision and changes nothing.
	Commit(ctx context.Context, w Write) (Result, error)
	// Get returns one head; ErrNotFound.
	Get(ctx context.Context, key confset.Key) (Head, error)
	// Body returns a body by its hash; ErrNotFound.
	Body(ctx context.Context, hash confset.Hash) ([]byte, error)
	// Change returns one record; ErrNotFound.
	Change(ctx context.Context, id string) (*ChangeRecord, error)
	// Changes returns at most n records older than id before (empty: from the newest), newest first.
	Changes(ctx context.Context, before string, n int) ([]*ChangeRecord, error)
	// Request returns the change a request id led to; ErrNotFound.
	Request(ctx context.Context, requestID string) (changeID string, err error)
	// Attend counts this handle among those at work on the store until ctx ends, and calls count with how many there are: the others, and
	// this one even while it rests. It does so at once, and again whenever they have become more or fewer. One that rests or ends its Attend
	// is gone for the others at once, one that died or can't be reached within seconds.
	//
	// It ends with ctx's error, or one wrapping ErrUnavailable: then the last number is the best there is, and Attend is called again. A
	// handle attends once at a time.
	Attend(ctx context.Context, who Attendee, count func(n int)) error
	// Meet keeps a note of this handle beside those of the others until ctx ends. A note goes when its Meet ends, or within seconds after its
	// handle died or can't reach the store any more. It ends like Attend does, and is called again like it: unless ctx is why, Heard gets the
	// notes without the own once more before, and the next note is the youngest. A note that is too large is a *LimitError. A handle meets
	// once at a time.
	Meet(ctx context.Context, m Meeting) error
	// Epoch identifies this incarnation of the store.
	Epoch() string
	// Limits says how much one commit may hold.
	Limits() Limits
	// Close releases connections; a running Watch ends.
	Close() error
}

// Attendee is a control plane that counts itself among those at work.
type Attendee struct {
	// Name is for people, with one meaning: whoever begins takes the place of others of that name, since they are what a process that died
	// left behind. One that is still at work comes back at once, and both are counted.
	Name string
	// Resting reports whether it isn't to be counted just now; nil: never. Turned gets a value whenever that may have changed.
	Resting func() bool
	Turned  <-chan struct{}
}

// Rests reports whether it isn't to be counted just now.
func (a *Attendee) Rests() bool { return a.Resting != nil && a.Resting() }

// Limits of one commit.
type Limits struct {
	Objects int    // per change
	Bytes   int    // per body
	Flag    string // flag that raises Objects, or empty
}

// Conditions that callers branch on.
var (
	ErrNotFound    = errors.New("not found")
	ErrCompacted   = errors.New("revision is compacted")
	ErrEpoch       = errors.New("the store was made anew or restored")
	ErrUnavailable = errors.New("store unavailable")
	ErrFenced      = errors.New("another control plane leads")
)

// ConflictError says that an object wasn't as the write expected.
type ConflictError struct {
	Key      confset.Key
	Expected int64 // revision; 0: absent
	Current  int64 // revision; 0: absent
}

// Error names the object and both revisions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s/%s is at revision %d, not %d", e.Key.Kind, e.Key.Name, e.Current, e.Expected)
}

// LimitError says that a change is larger than the store takes.
type LimitError struct {
	What  string // "objects in a change", "bytes in an object"
	Asked int
	Limit int
	Flag  string // flag that raises it, or empty
}

// Error names the limit and the number asked for.
func (e *LimitError) Error() string {
	s := fmt.Sprintf("%d %s, at most %d are possible", e.Asked, e.What, e.Limit)
	if e.Flag != "" {
		s += " (raise " + e.Flag + " and the store's own limit)"
	}
	return s
}

// DuplicateRequestError says that another change was stored under the same request id within the last 24 hours.
type DuplicateRequestError struct {
	RequestID string
	ChangeID  string
}

// Error names the change that the request id led to.
func (e *DuplicateRequestError) Error() string {
	return fmt.Sprintf("request id %q already led to change %s; use a new one for another change", e.RequestID, e.ChangeID)
}

// AmbiguousError says that a commit may or may not have happened; the change id tells once the store answers again.
type AmbiguousError struct {
	ChangeID string
	Err      error
}

// Error names the change id to look up.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("unknown whether change %s was stored: %v", e.ChangeID, e.Err)
}

// Unwrap returns the cause.
func (e *AmbiguousError) Unwrap() error { return e.Err }
