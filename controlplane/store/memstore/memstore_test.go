package memstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s := memstore.New()
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestAttendance(t *testing.T) {
	s := memstore.New()
	storetest.Attendance(t, func(t *testing.T) store.Store {
		r := s.Replica()
		t.Cleanup(func() { _ = r.Close() })
		return r
	})
}

func TestMeetings(t *testing.T) {
	stores := map[string]*memstore.Store{}
	storetest.Meetings(t, func(t *testing.T) store.Store {
		if stores[t.Name()] == nil {
			stores[t.Name()] = memstore.New()
		}
		r := stores[t.Name()].Replica()
		t.Cleanup(func() { _ = r.Close() })
		return r
	})
}

func commit(t *testing.T, s *memstore.Store, name string) int64 {
	t.Helper()
	r, err := s.Commit(t.Context(), storetest.Put(storetest.Head("server", name, name)))
	if err != nil {
		t.Fatal(err)
	}
	return r.Revision
}

func discard(store.Event) error { return nil }

func TestCompactionEndsOldWatches(t *testing.T) {
	s := memstore.New()
	first := commit(t, s, "a")
	commit(t, s, "b")
	last := commit(t, s, "c")
	s.Compact()
	if err := s.Watch(t.Context(), first, discard); !errors.Is(err, store.ErrCompacted) {
		t.Fatalf("watch from %d: %v", first, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan int64, 1)
	done := make(chan error)
	go func() {
		done <- s.Watch(ctx, last, func(e store.Event) error { seen <- e.Revision; return nil })
	}()
	next := commit(t, s, "d")
	if got := <-seen; got != next {
		t.Fatalf("event at %d, want %d", got, next)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestNewEpochNeedsALoad(t *testing.T) {
	for name, force := range map[string]func(*memstore.Store){"restored": (*memstore.Store).NewEpoch, "wiped": (*memstore.Store).Wipe} {
		s := memstore.New()
		other := s.Replica()
		rev, old := commit(t, s, "a"), s.Epoch()
		done := make(chan error)
		go func() { done <- s.Watch(context.Background(), rev, discard) }()
		force(s)
		if err := <-done; !errors.Is(err, store.ErrEpoch) {
			t.Fatalf("%s: watch: %v", name, err)
		}
		write := storetest.Put(storetest.Head("server", "b", "b"))
		if _, err := other.Commit(t.Context(), write); !errors.Is(err, store.ErrEpoch) {
			t.Fatalf("%s: commit before load: %v", name, err)
		}
		snap, err := other.Load(t.Context())
		if err != nil || snap.Epoch == old || other.Epoch() != snap.Epoch || s.Epoch() != old {
			t.Fatalf("%s: load: %+v %v", name, snap, err)
		}
		if _, err := other.Commit(t.Context(), write); err != nil {
			t.Fatalf("%s: commit after load: %v", name, err)
		}
	}
}

func TestDown(t *testing.T) {
	s := memstore.New()
	rev := commit(t, s, "a")
	done := make(chan error)
	go func() { done <- s.Watch(context.Background(), rev, discard) }()
	s.SetDown()
	if err := <-done; !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("watch: %v", err)
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("load: %v", err)
	}
	s.SetUp()
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAmbiguousCommit(t *testing.T) {
	s := memstore.New()
	s.Ambiguous(true)
	s.Ambiguous(false)
	for _, stored := range []bool{true, false} {
		w := storetest.Put(storetest.Head("server", "s-"+storetest.ID(), "x"))
		_, err := s.Commit(t.Context(), w)
		var ambiguous *store.AmbiguousError
		if !errors.As(err, &ambiguous) || ambiguous.ChangeID != w.Record.ID || !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("commit: %v", err)
		}
		if _, err := s.Change(t.Context(), w.Record.ID); (err == nil) != stored {
			t.Fatalf("stored: %v, want %v", err, stored)
		}
		if _, err := s.Commit(t.Context(), w); err != nil {
			t.Fatalf("again: %v", err)
		}
	}
}

func TestRequestIDsAreForgotten(t *testing.T) {
	s := memstore.New()
	now := time.Now()
	s.SetClock(func() time.Time { return now })
	w := storetest.Put(storetest.Head("server", "a", "a"))
	w.RequestID = "r"
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	now = now.Add(memstore.RequestLife)
	if _, err := s.Request(t.Context(), "r"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("after a day: %v", err)
	}
}
