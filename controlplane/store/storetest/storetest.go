// Package storetest is the contract of store.Store as a test suite that every implementation runs.
//
// It promises that what passes it can stand in for any other store behind the control plane. It refuses to look inside: whatever an
// implementation needs beyond the contract (faults, restarts, limits of its backend) it tests itself.
package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// Run runs the contract. Each test opens a store of its own, new and empty; open closes it when the test ends. The tests
// run at the same time.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"new store is empty", newStoreIsEmpty},
		{"create, update, delete", createUpdateDelete},
		{"lost race names both revisions", lostRace},
		{"one of many racers wins", oneWinner},
		{"many objects all or nothing", allOrNothing},
		{"guard without a write", guard},
		{"change record", changeRecord},
		{"change log order and pages", changePages},
		{"bodies outlive their heads", bodiesStay},
		{"request id", requestID},
		{"request id decides a race", requestRace},
		{"same write twice is one change", commitTwice},
		{"epoch of a write", epochOfWrite},
		{"malformed writes", malformedWrites},
		{"limits name the numbers", limits},
		{"as many objects as the limit says", fullChange},
		{"load has the newest change", loadNewestChange},
		{"load is consistent under writes", loadUnderWrites},
		{"load in key order", loadOrder},
		{"watch sees one event per change", watchEvents},
		{"watch resumes without gap or repeat", watchResumes},
		{"watches are independent", watchesIndependent},
		{"watch after load misses nothing", watchAfterLoad},
		{"watch ends with its context, its emit and the store", watchEnds},
		{"watch from the future", watchFuture},
		{"one that attends is counted", attends},
		{"one that meets hears itself", meets},
		{"meeting with a canceled context", meetsCanceled},
		{"notes that are too large", largeNotes},
		{"a fence that stands", fenceStands},
		{"a fence that fell", fenceFalls},
		{"canceled context", canceledContext},
		{"closed store", closedStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, open(t))
		})
	}
}

// Head returns a head ready to be put: generation 1, with the hash of the body.
func Head(kind, name, body string) store.Head {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return store.Head{
		Object:     confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, []byte(body)),
		Generation: 1, Created: now, Updated: now,
	}
}

// Put returns a write of heads that must be at the revisions their Revision fields hold; 0: absent.
func Put(heads ...store.Head) store.Write {
	w := store.Write{Puts: heads, Record: store.ChangeRecord{ID: ID(), Time: time.Now().UTC().Truncate(time.Millisecond), Author: "ada"}}
	for _, h := range heads {
		w.Expect = append(w.Expect, store.Precondition{Key: h.Object.Key, Revision: h.Revision})
		w.Record.Objects = append(w.Record.Objects, store.Changed{
			Kind: h.Object.Key.Kind, Name: h.Object.Key.Name, UID: h.Object.UID, After: h.Object.Hash.String(),
		})
	}
	return w
}

// Delete adds the deletion of heads at their revisions to a write.
func Delete(w store.Write, heads ...store.Head) store.Write {
	for _, h := range heads {
		w.Deletes = append(w.Deletes, h.Object.Key)
		w.Expect = append(w.Expect, store.Precondition{Key: h.Object.Key, Revision: h.Revision})
		w.Record.Objects = append(w.Record.Objects, store.Changed{
			Kind: h.Object.Key.Kind, Name: h.Object.Key.Name, UID: h.Object.UID, Before: h.Object.Hash.String(),
		})
	}
	return w
}

// ID returns a new change id; ids of one process ascend.
func ID() string { return ulid.Make().String() }

func commit(t *testing.T, s store.Store, w store.Write) int64 {
	t.Helper()
	r, err := s.Commit(t.Context(), w)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	if r.Revision <= 0 {
		t.Fatalf("commit: revision %d", r.Revision)
	}
	return r.Revision
}

// put commits one object at the revision it is at, and returns its head as stored.
func put(t *testing.T, s store.Store, h store.Head) store.Head {
	t.Helper()
	w := Put(h)
	h.Revision, h.Change = commit(t, s, w), w.Record.ID
	return h
}

func load(t *testing.T, s store.Store) *store.Snapshot {
	t.Helper()
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return snap
}

func get(t *testing.T, s store.Store, key confset.Key) store.Head {
	t.Helper()
	h, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return h
}

// brief is a head in one line, for comparing.
func brief(h store.Head) string {
	return fmt.Sprintf("%s uid=%s gen=%d rev=%d change=%s owner=%s set=%s hash=%.8s body=%q created=%d updated=%d", h.Object.Key, h.Object.UID,
		h.Generation, h.Revision, h.Change, h.Owner, h.Set, h.Object.Hash, h.Object.Body, h.Created.UnixMilli(), h.Updated.UnixMilli())
}

func briefs(heads []store.Head) string {
	lines := make([]string, len(heads))
	for i, h := range heads {
		lines[i] = brief(h)
	}
	return strings.Join(lines, "\n")
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// noise returns n bytes that don't compress.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return string(b)
}

// tap is a running watch whose events can be waited for.
type tap struct {
	t      *testing.T
	events chan store.Event
	cancel context.CancelFunc
	done   chan error
}

func watch(t *testing.T, s store.Store, from int64) *tap {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &tap{t: t, events: make(chan store.Event, 10_000), cancel: cancel, done: make(chan error, 1)}
	go func() {
		w.done <- s.Watch(ctx, from, func(e store.Event) error {
			w.events <- e
			return nil
		})
		close(w.events)
	}()
	t.Cleanup(func() {
		cancel()
		for range w.events {
		}
	})
	return w
}

func (w *tap) next() store.Event {
	w.t.Helper()
	select {
	case e, ok := <-w.events:
		if !ok {
			w.t.Fatalf("watch ended: %v", <-w.done)
		}
		return e
	case <-time.After(patience):
		w.t.Fatal("no event came")
	}
	panic("unreachable")
}

// end waits until the watch has ended.
func (w *tap) end() error {
	w.t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(patience):
		w.t.Fatal("the watch didn't end")
	}
	panic("unreachable")
}
