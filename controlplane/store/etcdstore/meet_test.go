package etcdstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestMeetingsInACluster(t *testing.T) {
	t.Parallel()
	addrs := map[string]string{}
	storetest.Meetings(t, func(t *testing.T) store.Store {
		if addrs[t.Name()] == "" {
			_, addrs[t.Name()] = startEtcd(t, t.TempDir())
		}
		s := clustered(t, addrs[t.Name()])
		s.backend.meetFor = 2 * time.Second
		return s
	})
}

// guest is a running Meet.
type guest struct {
	heard chan []store.Note
	done  chan error
}

func meet(t *testing.T, s *Store, name string) guest {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := guest{make(chan []store.Note, 1000), make(chan error, 1)}
	go func() {
		g.done <- s.Meet(ctx, store.Meeting{
			Name: name, Note: func() []byte { return []byte("x") }, Heard: func(notes []store.Note) { g.heard <- notes },
		})
		close(g.done)
	}()
	t.Cleanup(func() {
		cancel()
		for range g.done {
		}
	})
	return g
}

// until waits for notes of these names, with a star behind the own.
func (g guest) until(t *testing.T, want ...string) []store.Note {
	t.Helper()
	late, last := time.After(20*time.Second), []string{}
	for {
		select {
		case notes := <-g.heard:
			last = last[:0]
			for _, n := range notes {
				last = append(last, n.Name+map[bool]string{true: "*"}[n.Own])
			}
			if strings.Join(last, " ") == strings.Join(want, " ") {
				return notes
			}
		case <-late:
			t.Fatalf("heard %q, want %q", last, want)
		}
	}
}

func fenced(fence store.Fence, name string) store.Write {
	w := server(name)
	w.Fence = fence
	return w
}

// notesIn are the keys of the meeting that stand in etcd.
func notesIn(t *testing.T, raw *clientv3.Client) []*mvccpb.KeyValue {
	t.Helper()
	resp, err := raw.Get(t.Context(), meetings, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Kvs
}

// A leader that can't be reached gives up before another leads, and what it sent meanwhile is refused when it arrives.
func TestALeaderThatIsCutOffIsReplacedAndFenced(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	there, here := clustered(t, p.addr()), clustered(t, addr)
	one := meet(t, there, "one")
	fence := one.until(t, "one*")[0].Fence
	two := meet(t, here, "two")
	own := two.until(t, "one", "two*")[1].Fence
	one.until(t, "one*", "two")
	mustCommit(t, there, fenced(fence, "before"))

	start := time.Now()
	p.hold()
	late := make(chan error, 1)
	go func() {
		_, err := there.Commit(context.Background(), fenced(fence, "during"))
		late <- err
	}()
	one.until(t, "two") // without its own note: it leads no more
	believed := time.Since(start)
	if err := <-one.done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("cut off: %v", err)
	}
	if len(notesIn(t, keysOf(t, addr))) != 2 {
		t.Error("its note went before it gave up")
	}
	two.until(t, "two*")
	replaced := time.Since(start)
	t.Logf("gave up after %v, replaced after %v", believed, replaced)
	if replaced > meetFor+4*time.Second { // half a second is etcd's, the rest for a busy machine
		t.Errorf("replaced after %v, its lease is %v", replaced, meetFor)
	}
	if err := <-late; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit while it was cut off: %v", err)
	}
	mustCommit(t, here, fenced(own, "after"))
	p.resume() // what was held back arrives
	if err := eventually(func() error { _, err := there.Commit(t.Context(), fenced(fence, "late")); return err }); !errors.Is(err, store.ErrFenced) {
		t.Errorf("commit of the one that was replaced: %v", err)
	}
	snap, err := here.Load(t.Context())
	if err != nil || len(snap.Heads) > 3 {
		t.Fatalf("%d heads, %v", len(snap.Heads), err)
	}
	for _, h := range snap.Heads {
		if h.Object.Key.Name == "late" {
			t.Error("a write without a leader was stored")
		}
	}
	again := meet(t, there, "one")
	again.until(t, "two", "one*")
	two.until(t, "two*", "one")
}

// eventually calls until the store is reached.
func eventually(call func() error) (err error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = call(); !errors.Is(err, store.ErrUnavailable) {
			return err
		}
	}
	return err
}

// A note that goes behind its handle's back is heard by it, and ends its meeting.
func TestALostNoteEndsTheMeeting(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	raw, s := keysOf(t, addr), clustered(t, addr)
	for what, take := range map[string]func(kv *mvccpb.KeyValue) error{
		"key": func(kv *mvccpb.KeyValue) error { _, err := raw.Delete(t.Context(), string(kv.Key)); return err },
		"lease": func(kv *mvccpb.KeyValue) error {
			_, err := raw.Revoke(t.Context(), clientv3.LeaseID(kv.Lease))
			return err
		},
	} {
		g := meet(t, s, "one")
		g.until(t, "one*")
		if err := take(notesIn(t, raw)[0]); err != nil {
			t.Fatal(err)
		}
		g.until(t)
		if err := <-g.done; !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "note") {
			t.Errorf("without its %s: %v", what, err)
		}
	}
}

// What a Meet of the same handle left behind when it lost the store doesn't stand in the way of the next one.
func TestALeftNoteIsTakenAway(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	raw, s := keysOf(t, addr), clustered(t, addr)
	if _, err := raw.Put(t.Context(), namedKeys(meetings, "one")+s.replica.String(), "left"); err != nil {
		t.Fatal(err)
	}
	notes := meet(t, s, "one").until(t, "one*")
	if string(notes[0].Text) != "x" {
		t.Errorf("heard %q", notes[0].Text)
	}
}

// While nothing is said nothing is written, and the note stays longer than its lease.
func TestAnIdleMeetingWritesNothing(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	raw, s := keysOf(t, addr), clustered(t, addr)
	s.backend.meetFor, s.backend.progress = 4*time.Second, 100*time.Millisecond
	watched := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { watched <- s.Watch(ctx, s.known().newest, func(store.Event) error { return nil }) }()
	defer func() { cancel(); <-watched }()
	g := meet(t, s, "one")
	g.until(t, "one*")
	before, err := raw.Get(t.Context(), meetings)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-g.done:
		t.Fatal(err)
	case notes := <-g.heard:
		t.Fatalf("heard %+v", notes)
	case <-time.After(9 * time.Second): // twice as long as it would last by itself
	}
	if after, err := raw.Get(t.Context(), meetings); err != nil || after.Header.Revision != before.Header.Revision || len(notesIn(t, raw)) != 1 {
		t.Errorf("revision %d, then %d: %v", before.Header.Revision, after.Header.Revision, err)
	}
}

// A fence holds for copies of a write that arrive late, and the outcome of one whose answer was lost is found.
func TestAFencedWriteWhoseAnswerIsLost(t *testing.T) {
	s, r := onRoad(t)
	g := meet(t, s, "one")
	fence := g.until(t, "one*")[0].Fence
	r.fates = []fate{lost}
	w := fenced(fence, "a")
	w.RequestID = "once"
	mustCommit(t, s, w)

	r.fates = []fate{delayed}
	raw := s.client.Load()
	r.taken = func(fate) {
		r.taken = nil
		if _, err := raw.Delete(t.Context(), fence.Key); err != nil {
			t.Error(err)
		}
	}
	late := fenced(fence, "b")
	if _, err := s.Commit(t.Context(), late); !errors.Is(err, store.ErrFenced) {
		t.Fatalf("commit: %v", err)
	}
	r.arrive()
	if stored(t, s, late) {
		t.Error("reported as refused, and stored later")
	}
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Errorf("what was stored before the fence fell: %v", err)
	}
}

// Snapshots don't hold notes, and a restore ends all meetings: no fence from before holds after it.
func TestNotesAreNotDumpedAndFallWithARestore(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	s, other := clustered(t, addr), clustered(t, addr)
	g := meet(t, s, "one")
	fence := g.until(t, "one*")[0].Fence
	mustCommit(t, s, fenced(fence, "a"))
	if len(notesIn(t, keysOf(t, addr))) != 1 || Lasting(strings.TrimPrefix(fence.Key, prefix)) {
		t.Errorf("%s is kept", fence.Key)
	}
	dump, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := dump.Records(t.Context(), func(r Record) error {
		if strings.Contains(r.Key, "meeting/") {
			t.Errorf("dumped %s", r.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	restore, err := other.Restore(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer restore.Close()
	if _, _, err := restore.Finish(t.Context(), server("x").Record, 0); err != nil {
		t.Fatal(err)
	}
	g.until(t)
	if err := <-g.done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after a restore: %v", err)
	}
	if _, err := s.Commit(t.Context(), fenced(fence, "b")); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("before loading again: %v", err)
	}
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), fenced(fence, "b")); !errors.Is(err, store.ErrFenced) {
		t.Errorf("with a fence from before: %v", err)
	}
}

// A note that a killed process left in its data directory leads nobody after the next start.
func TestAloneANoteThatWasLeftIsGone(t *testing.T) {
	s, r := onRoad(t)
	left := namedKeys(meetings, "one") + "01J0000000000000000000000"
	put, err := r.Put(t.Context(), left, "")
	if err != nil {
		t.Fatal(err)
	}
	notes := meet(t, s, "one").until(t, "one*")
	if _, err := s.Commit(t.Context(), fenced(store.Fence{Key: left, Created: put.Header.Revision}, "a")); !errors.Is(err, store.ErrFenced) {
		t.Errorf("write of the killed one: %v", err)
	}
	mustCommit(t, s, fenced(notes[0].Fence, "a"))
}
