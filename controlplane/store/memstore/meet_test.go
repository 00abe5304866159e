package memstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
)

// meet starts a Meet; what it hears and its error come through the channels.
func meet(t *testing.T, s *memstore.Store, name string) (<-chan []store.Note, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard, done := make(chan []store.Note, 100), make(chan error, 1)
	go func() {
		defer close(done)
		done <- s.Meet(ctx, store.Meeting{
			Name: name, Note: func() []byte { return nil }, Heard: func(notes []store.Note) { heard <- notes },
		})
	}()
	t.Cleanup(func() {
		cancel()
		for range done {
		}
	})
	return heard, done
}

// leads waits until the first note is of name, and returns its fence.
func leads(heard <-chan []store.Note, name string) store.Fence {
	for notes := range heard {
		if len(notes) > 0 && notes[0].Name == name {
			return notes[0].Fence
		}
	}
	return store.Fence{}
}

func fencedOff(t *testing.T, s *memstore.Store, fence store.Fence) {
	t.Helper()
	w := storetest.Put(storetest.Head("server", storetest.ID(), "x"))
	w.Fence = fence
	if _, err := s.Commit(t.Context(), w); !errors.Is(err, store.ErrFenced) {
		t.Errorf("commit: %v", err)
	}
}

func TestLostNotesEndTheirMeeting(t *testing.T) {
	s := memstore.New()
	heard, done := meet(t, s, "one")
	fence := leads(heard, "one")
	others, _ := meet(t, s.Replica(), "two")
	leads(others, "one")
	s.LoseNotes()
	leads(heard, "two")
	if err := <-done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("meeting: %v", err)
	}
	leads(others, "two")
	fencedOff(t, s, fence)
}

// One that stood still believes that it leads while another does; its writes are refused.
func TestAStalledOneIsReplaced(t *testing.T) {
	s := memstore.New()
	heard, done := meet(t, s, "one")
	fence := leads(heard, "one")
	s.Stall()
	others, _ := meet(t, s.Replica(), "two")
	leads(others, "two")
	if len(heard) > 0 {
		t.Errorf("it heard %+v", <-heard)
	}
	fencedOff(t, s, fence)
	s.Wake()
	leads(heard, "two")
	if err := <-done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("meeting: %v", err)
	}
}
