package etcdstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// fate of one transaction on its way to etcd.
type fate int

const (
	passes  fate = iota
	lost         // the answer is lost: etcd applied it
	dropped      // it never arrives
	delayed      // no answer, and it arrives when arrive is called
)

var errFate = errors.New("made to fail by the test")

// road is a clientv3.KV that decides what becomes of transactions.
type road struct {
	clientv3.KV
	mu    sync.Mutex
	fates []fate // of the coming transactions; then last
	last  fate
	late  []func()
	taken func(fate)       // called, if set, when a transaction met its fate
	read  func(key string) // called, if set, before every read
}

func (r *road) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if r.read != nil {
		r.read(key)
	}
	return r.KV.Get(ctx, key, opts...)
}

func (r *road) Txn(ctx context.Context) clientv3.Txn { return &traveller{r, ctx, nil, nil, nil} }

func (r *road) next() fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fates) == 0 {
		return r.last
	}
	f := r.fates[0]
	r.fates = r.fates[1:]
	return f
}

// arrive delivers what was delayed.
func (r *road) arrive() {
	for _, deliver := range r.late {
		deliver()
	}
}

type traveller struct {
	road        *road
	ctx         context.Context
	conds       []clientv3.Cmp
	then, else_ []clientv3.Op
}

func (t *traveller) If(cs ...clientv3.Cmp) clientv3.Txn   { t.conds = cs; return t }
func (t *traveller) Then(ops ...clientv3.Op) clientv3.Txn { t.then = ops; return t }
func (t *traveller) Else(ops ...clientv3.Op) clientv3.Txn { t.else_ = ops; return t }

func (t *traveller) Commit() (resp *clientv3.TxnResponse, err error) {
	send := func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return t.road.KV.Txn(ctx).If(t.conds...).Then(t.then...).Else(t.else_...).Commit()
	}
	f := t.road.next()
	switch f {
	case passes:
		return send(t.ctx)
	case lost:
		_, _ = send(t.ctx)
	case delayed:
		t.road.late = append(t.road.late, func() { _, _ = send(context.Background()) })
	}
	if t.road.taken != nil {
		t.road.taken(f)
	}
	return nil, errFate
}

// onRoad opens an embedded store whose transactions go over a road.
func onRoad(t *testing.T) (*Store, *road) {
	t.Helper()
	s, err := Embedded(EmbeddedConfig{Dir: t.TempDir(), CommitWithin: 20 * time.Second}) // the machine may be busy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &road{KV: s.client.Load().KV}
	s.client.Load().KV = r
	return s, r
}

func server(name string) store.Write {
	return storetest.Put(storetest.Head("server", name, name))
}

func stored(t *testing.T, s *Store, w store.Write) bool {
	t.Helper()
	_, err := s.Change(t.Context(), w.Record.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestLostAnswersAreLookedUp(t *testing.T) {
	for name, fates := range map[string][]fate{
		"answer lost":                      {lost},
		"answer lost twice":                {lost, lost},
		"never arrived":                    {dropped},
		"never arrived, then not answered": {dropped, dropped, lost},
		"delayed":                          {delayed},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := onRoad(t)
			r.fates = fates
			w := server("a")
			w.RequestID = "once"
			result, err := s.Commit(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			r.arrive()
			record, err := s.Change(t.Context(), w.Record.ID)
			if err != nil || record.Revision != result.Revision {
				t.Fatalf("record %+v %v, committed at %d", record, err, result.Revision)
			}
			if h, err := s.Get(t.Context(), w.Puts[0].Object.Key); err != nil || h.Revision != result.Revision {
				t.Fatalf("head at %d, %v, committed at %d", h.Revision, err, result.Revision)
			}
		})
	}
}

func TestGivenUpChangeNeverArrives(t *testing.T) {
	s, r := onRoad(t)
	r.fates = []fate{delayed}
	ctx, cancel := context.WithCancel(t.Context())
	r.taken = func(fate) { cancel() }
	w := server("a")
	if _, err := s.Commit(ctx, w); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("commit: %v", err)
	}
	r.arrive()
	if stored(t, s, w) {
		t.Fatal("reported as not stored, and stored later")
	}
	if _, err := s.Commit(t.Context(), w); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("same change again: %v", err)
	}
	if _, err := s.Commit(t.Context(), server("a")); err != nil {
		t.Fatalf("a new change: %v", err)
	}
}

func TestGivenUpChangeThatWasStoredIsReportedAsStored(t *testing.T) {
	s, r := onRoad(t)
	r.fates = []fate{lost}
	ctx, cancel := context.WithCancel(t.Context())
	r.taken = func(fate) { cancel() }
	w := server("a")
	result, err := s.Commit(ctx, w)
	if err != nil || result.Revision == 0 || !stored(t, s, w) {
		t.Fatalf("commit: %v %v", result, err)
	}
}

// A refusal is final even when an earlier copy is still on its way and what it expects comes true again.
func TestRefusedChangeNeverArrives(t *testing.T) {
	s, r := onRoad(t)
	other := server("a")
	r.fates = []fate{delayed}
	r.taken = func(fate) {
		r.taken = nil
		if _, err := s.Commit(t.Context(), other); err != nil {
			t.Errorf("other: %v", err)
		}
	}
	w := server("a")
	_, err := s.Commit(t.Context(), w)
	var conflict *store.ConflictError
	var unknown *store.AmbiguousError
	if !errors.As(err, &conflict) || errors.As(err, &unknown) {
		t.Fatalf("commit: %v", err)
	}
	h, err := s.Get(t.Context(), other.Puts[0].Object.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), storetest.Delete(storetest.Put(), h)); err != nil {
		t.Fatal(err)
	}
	r.arrive()
	if stored(t, s, w) {
		t.Fatal("reported as refused, and stored later")
	}
}

func TestUnknownOutcomeSaysSoInTime(t *testing.T) {
	s, r := onRoad(t)
	enough := s.backend.commitWithin
	s.backend.commitWithin = 2 * time.Second
	r.last = dropped
	start := time.Now()
	w := server("a")
	_, err := s.Commit(t.Context(), w)
	var ambiguous *store.AmbiguousError
	if !errors.As(err, &ambiguous) || ambiguous.ChangeID != w.Record.ID || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("commit: %v", err)
	}
	if took := time.Since(start); took > 2*s.backend.commitWithin {
		t.Errorf("took %v, promised %v", took, s.backend.commitWithin)
	}
	r.last, s.backend.commitWithin = passes, enough
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatalf("same change again: %v", err)
	}
}

func TestChangeIDIsNotReused(t *testing.T) {
	s, _ := onRoad(t)
	w, other := server("a"), server("b")
	other.Record.ID = w.Record.ID
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), other); err == nil {
		t.Fatal("two changes under one id")
	}
}

func TestLostLeaseIsReplaced(t *testing.T) {
	s, _ := onRoad(t)
	for _, name := range []string{"a", "b"} {
		w := server(name)
		w.RequestID = name
		if _, err := s.Commit(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if id, err := s.Request(t.Context(), name); err != nil || id != w.Record.ID {
			t.Fatalf("request: %q %v", id, err)
		}
		s.lease.id++
	}
}

// What would have been refused, had its answer come, is unknown and nothing else: who looks for a conflict must not find one.
func TestAnUnknownOutcomeIsNoConflict(t *testing.T) {
	s, r := onRoad(t)
	s.backend.commitWithin = 4 * time.Second
	r.fates = []fate{delayed}
	r.taken = func(fate) {
		r.taken = nil
		if _, err := s.Commit(t.Context(), server("a")); err != nil {
			t.Errorf("other: %v", err)
		}
		r.fates, r.last = []fate{passes}, dropped // the refusal comes, and nothing rules the first sending out
	}
	_, err := s.Commit(t.Context(), server("a"))
	var unknown *store.AmbiguousError
	var conflict *store.ConflictError
	if !errors.As(err, &unknown) || errors.As(err, &conflict) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
}
