package view

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	// partBytes bounds one part of an update; a single object that is larger goes alone.
	partBytes = 1 << 20
	// resourceBytes is what a resource takes at most besides its strings and body: hash, tags and lengths.
	resourceBytes = 64
	// historyMost bounds the changes a view remembers, changesMost those that one update names.
	historyMost, changesMost = 64, 16
)

// Change is one change of the config.
type Change struct {
	ID          string
	Traceparent string // W3C, of the call that made it; may be empty
	Revision    int64  // it was committed at
}

// View is what the data planes of a scope should have. It is immutable and shared.
type View struct {
	// Set is the config.
	Set *confset.Set
	// Epoch and Revision of the store it stands at.
	Epoch    string
	Revision int64
	// Changes since the previous view, oldest first, at most 16; empty in the first view.
	Changes []Change
	// Since is when the first of these changes reached this replica.
	Since time.Time

	recent  []*confset.Set // sets that deltas can start from
	history []Change       // oldest first
	trail   trail

	mu      sync.Mutex
	updates map[confset.Digest]*Update // by where they start; guarded by mu
	after   map[int]*Update            // by where they start in the trail; guarded by mu
	full    *Update                    // guarded by mu
}

// Update leads a data plane to a view. It is shared by streams: whoever needs a nonce or trace sends it after the part's encoded bytes.
type Update struct {
	// Parts in order, at most 1 MiB each unless one object is larger. The last one has digest, revision and epoch; none has a nonce.
	Parts []*syncv1.Update
	// Full: the parts hold the whole set, not a delta.
	Full bool

	encoded []encoded // as many as there are parts
}

// encoded is a part in wire format.
type encoded struct {
	once  sync.Once
	bytes []byte
	err   error
}

func newUpdate(parts []*syncv1.Update, full bool) *Update {
	return &Update{Parts: parts, Full: full, encoded: make([]encoded, len(parts))}
}

// Encoded returns a part in protobuf wire format, made once for all streams. More fields may be appended to a copy. The error says that the
// part holds what can't be encoded.
func (u *Update) Encoded(part int) ([]byte, error) {
	e := &u.encoded[part]
	e.once.Do(func() { e.bytes, e.err = proto.Marshal(u.Parts[part]) })
	return e.bytes, e.err
}

// Digest returns the digest of the set.
func (v *View) Digest() confset.Digest { return v.Set.Digest() }

// Delta returns the update from the set with that digest, or nil when this replica doesn't know that set. It is made once.
func (v *View) Delta(from confset.Digest) *Update {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u := v.updates[from]; u != nil {
		return u
	}
	set := v.known(from)
	if set == nil {
		return nil
	}
	u := newUpdate(v.parts(confset.Diff(set, v.Set), false), false)
	if v.updates == nil {
		v.updates = map[confset.Digest]*Update{}
	}
	v.updates[from] = u
	return u
}

func (v *View) known(digest confset.Digest) *confset.Set {
	if digest == v.Set.Digest() {
		return v.Set
	}
	for _, s := range v.recent {
		if s.Digest() == digest {
			return s
		}
	}
	return nil
}

// Full returns the update from nothing. It is made once, and only when asked for.
func (v *View) Full() *Update {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full == nil {
		v.full = newUpdate(v.parts(confset.Diff(confset.Empty(), v.Set), true), true)
	}
	return v.full
}

// ChangesAfter returns the changes after a revision up to this view, oldest first, at most 16, as far as they are remembered.
func (v *View) ChangesAfter(revision int64) []Change {
	var out []Change
	for _, c := range v.history {
		if c.Revision > revision && len(out) < changesMost {
			out = append(out, c)
		}
	}
	return out
}

// parts cuts a delta into updates. There is always one, also for an empty delta.
func (v *View) parts(d confset.Delta, full bool) []*syncv1.Update {
	part, size := &syncv1.Update{Full: full}, 0
	parts := []*syncv1.Update{part}
	room := func(n int) {
		if size > 0 && size+n > partBytes {
			part.More = true
			part, size = &syncv1.Update{Full: full}, 0
			parts = append(parts, part)
		}
		size += n
	}
	for _, key := range d.Removals {
		room(resourceBytes + len(key.Kind) + len(key.Name))
		part.Removals = append(part.Removals, &syncv1.ResourceName{Kind: key.Kind, Name: key.Name})
	}
	for i := range d.Upserts {
		r := resource(&d.Upserts[i])
		room(resourceBytes + len(r.Kind) + len(r.Name) + len(r.Uid) + len(r.Body))
		part.Upserts = append(part.Upserts, r)
	}
	digest := v.Set.Digest()
	part.Digest, part.Revision, part.Epoch = digest[:], v.Revision, v.Epoch
	return parts
}

func resource(o *confset.Object) *syncv1.Resource {
	return &syncv1.Resource{Kind: o.Key.Kind, Name: o.Key.Name, Uid: o.UID, Hash: o.Hash[:], Body: o.Body}
}
