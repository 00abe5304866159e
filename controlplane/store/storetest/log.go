package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

func changeRecord(t *testing.T, s store.Store) {
	w := Put(Head("server", "a", "a"))
	w.Record.Message, w.Record.Parent, w.Record.RequestID = "why", ID(), "r1"
	w.Record.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w.Record.Objects[0].Before = strings.Repeat("0", 64)
	tap := watch(t, s, load(t, s).Revision)
	w.Record.Revision = commit(t, s, w)
	want := fmt.Sprintf("%+v", w.Record)

	r, err := s.Change(t.Context(), w.Record.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "record read", fmt.Sprintf("%+v", *r), want)
	same(t, "record watched", fmt.Sprintf("%+v", *tap.next().Change), want)
	same(t, "record loaded", fmt.Sprintf("%+v", *load(t, s).Change), want)
	list, err := s.Changes(t.Context(), "", 1)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	same(t, "record listed", fmt.Sprintf("%+v", *list[0]), want)
}

func changePages(t *testing.T, s store.Store) {
	var ids []string // newest first
	var h store.Head
	for i := range 25 {
		next := Head("server", "a", fmt.Sprint(i))
		next.Revision = h.Revision
		h = put(t, s, next)
		ids = append([]string{h.Change}, ids...)
	}
	for _, n := range []int{1, 7, 24, 25, 26} {
		var got []string
		for before := ""; ; {
			page, err := s.Changes(t.Context(), before, n)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			if len(page) > n {
				t.Fatalf("%d records, at most %d asked for", len(page), n)
			}
			for _, r := range page {
				got = append(got, r.ID)
			}
			before = got[len(got)-1]
		}
		same(t, fmt.Sprintf("pages of %d", n), strings.Join(got, " "), strings.Join(ids, " "))
	}
	if page, err := s.Changes(t.Context(), "", 0); err != nil || len(page) != 0 {
		t.Fatalf("no record asked for: %v %v", page, err)
	}
	if page, err := s.Changes(t.Context(), "nonsense", 1); err == nil {
		t.Fatalf("before nonsense: %v, want an error", page)
	}
}

func bodiesStay(t *testing.T, s store.Store) {
	one := put(t, s, Head("server", "a", "one"))
	two := put(t, s, at(Head("server", "a", "two"), one.Revision))
	commit(t, s, Delete(Put(), two))
	for _, h := range []store.Head{one, two} {
		body, err := s.Body(t.Context(), h.Object.Hash)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "body", string(body), string(h.Object.Body))
	}
	put(t, s, Head("server", "b", "one")) // known body, used again
	commit(t, s, Put(Head("server", "c", "same"), Head("server", "d", "same")))
}

func requestID(t *testing.T, s store.Store) {
	w := Put(Head("server", "a", "a"))
	w.RequestID = "req/1 with any bytes \x00\xff"
	commit(t, s, w)
	id, err := s.Request(t.Context(), w.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "change of the request", id, w.Record.ID)

	other := Put(Head("server", "b", "b"))
	other.RequestID = w.RequestID
	_, err = s.Commit(t.Context(), other)
	var duplicate *store.DuplicateRequestError
	if !errors.As(err, &duplicate) || duplicate.ChangeID != w.Record.ID || duplicate.RequestID != w.RequestID {
		t.Fatalf("second change of a request: %v", err)
	}
	_, err = s.Get(t.Context(), other.Puts[0].Object.Key)
	mustBe(t, "object of the refused change", err, store.ErrNotFound)

	lost := Put(Head("server", "a", "again"))
	lost.RequestID = "lost"
	if _, err := s.Commit(t.Context(), lost); err == nil {
		t.Fatal("want a conflict")
	}
	_, err = s.Request(t.Context(), "lost")
	mustBe(t, "request id of a refused change", err, store.ErrNotFound)
}

func requestRace(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		group.Go(func() {
			w := Put(Head("server", fmt.Sprint("s", i), "x"))
			w.RequestID = "once"
			_, err := s.Commit(t.Context(), w)
			var duplicate *store.DuplicateRequestError
			switch {
			case err == nil:
				won <- w.Record.ID
			case !errors.As(err, &duplicate):
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	group.Wait()
	close(won)
	winner, more := <-won, len(won)
	id, err := s.Request(t.Context(), "once")
	if err != nil || id != winner || more != 0 || len(load(t, s).Heads) != 1 {
		t.Fatalf("request led to %q (%v), %q won and %d more", id, err, winner, more)
	}
}

func loadNewestChange(t *testing.T, s store.Store) {
	h := put(t, s, Head("server", "a", "a"))
	w := Delete(Put(), h)
	w.Record.ID = "00000000000000000000000001" // an old clock's id: newest means committed last
	rev := commit(t, s, w)
	snap := load(t, s)
	if snap.Change == nil || snap.Change.ID != w.Record.ID || snap.Change.Revision != rev {
		t.Fatalf("newest change %+v, want %s", snap.Change, w.Record.ID)
	}
}

func loadOrder(t *testing.T, s store.Store) {
	for _, k := range []confset.Key{{Kind: "server", Name: "b"}, {Kind: "apikey", Name: "z"}, {Kind: "server-x", Name: "a"}, {Kind: "server", Name: "a.b"}, {Kind: "server", Name: "a"}} {
		put(t, s, Head(k.Kind, k.Name, k.String()))
	}
	heads := load(t, s).Heads
	for i := 1; i < len(heads); i++ {
		if heads[i-1].Object.Key.Compare(heads[i].Object.Key) >= 0 {
			t.Fatalf("%s before %s", heads[i-1].Object.Key, heads[i].Object.Key)
		}
	}
	same(t, "heads", fmt.Sprint(len(heads)), "5")
}

// loadUnderWrites moves a token between objects, two of them in every change: a load that mixes revisions sees none or two.
func loadUnderWrites(t *testing.T, s store.Store) {
	const objects = 40
	heads := make([]store.Head, objects)
	for i := range heads {
		heads[i] = Head("server", fmt.Sprintf("s%02d", i), "empty")
	}
	heads[0] = Head("server", "s00", "token")
	rev := commit(t, s, Put(heads...))
	for i := range heads {
		heads[i].Revision = rev
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { moveToken(ctx, t, s, heads) })
	defer group.Wait()
	defer cancel()
	last := int64(0)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		snap := load(t, s)
		tokens := 0
		for _, h := range snap.Heads {
			if string(h.Object.Body) == "token" {
				tokens++
			}
			if h.Revision > snap.Revision {
				t.Fatalf("%s is newer than the snapshot at %d", brief(h), snap.Revision)
			}
		}
		if tokens != 1 || len(snap.Heads) != objects || snap.Revision < last {
			t.Fatalf("%d tokens in %d objects at %d (before %d)", tokens, len(snap.Heads), snap.Revision, last)
		}
		last = snap.Revision
	}
}

func moveToken(ctx context.Context, t *testing.T, s store.Store, heads []store.Head) {
	for i := 0; ctx.Err() == nil; i++ {
		from, to := &heads[i%len(heads)], &heads[(i+1)%len(heads)]
		from.Object = confset.NewObject(from.Object.Key, from.Object.UID, []byte("empty"))
		to.Object = confset.NewObject(to.Object.Key, to.Object.UID, []byte("token"))
		r, err := s.Commit(context.WithoutCancel(ctx), Put(*from, *to))
		if err != nil {
			t.Errorf("move the token: %v", err)
			return
		}
		from.Revision, to.Revision = r.Revision, r.Revision
	}
}
