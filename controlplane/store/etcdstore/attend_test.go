package etcdstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func TestAttendanceInACluster(t *testing.T) {
	t.Parallel()
	addrs := map[string]string{}
	storetest.Attendance(t, func(t *testing.T) store.Store {
		if addrs[t.Name()] == "" {
			_, addrs[t.Name()] = startEtcd(t, t.TempDir())
		}
		return clustered(t, addrs[t.Name()])
	})
}

// seat is a running Attend.
type seat struct {
	counts chan int
	done   chan error
}

func attend(t *testing.T, s *Store, name string) seat {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := seat{make(chan int, 100), make(chan error, 1)}
	go func() {
		a.done <- s.Attend(ctx, store.Attendee{Name: name}, func(n int) { a.counts <- n })
		close(a.done)
	}()
	t.Cleanup(func() {
		cancel()
		for range a.done {
		}
	})
	return a
}

func (a seat) next(t *testing.T, want int) {
	t.Helper()
	select {
	case n := <-a.counts:
		if n != want {
			t.Fatalf("counts %d, want %d", n, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing is counted, want %d", want)
	}
}

// keysOf are what stands in etcd.
func keysOf(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return raw
}

// A process that was killed leaves its key behind; the one that is started in its place is alone from the start.
func TestAKilledOneIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	raw := keysOf(t, addr)
	for _, key := range []string{"a%2Fb/01J0000000000000000000000", "a%2Fbc/01J0000000000000000000000"} {
		if _, err := raw.Put(t.Context(), replicas+key, ""); err != nil {
			t.Fatal(err)
		}
	}
	attend(t, clustered(t, addr), "a/b").next(t, 2) // a/bc is somebody else
}

// One that can't be reached isn't counted when its lease has ended, and is again when it is back.
func TestWhoIsCutOffIsCountedForItsLease(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	p := newProxy(t, addr)
	here, there := clustered(t, addr), clustered(t, p.addr())
	for _, s := range []*Store{here, there} {
		s.backend.attendFor, s.backend.readWithin = 2*time.Second, time.Second
	}
	one := attend(t, here, "one")
	one.next(t, 1)
	two := attend(t, there, "two")
	two.next(t, 2)
	one.next(t, 2)

	p.hold()
	if err := <-two.done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("cut off: %v", err)
	}
	one.next(t, 1)
	p.resume()
	p.cut()
	again := attend(t, there, "two")
	one.next(t, 2)
	again.next(t, 2)
}

// Whoever runs out of its lease, or whose key is taken away, counts itself in again.
func TestALostKeyIsPutBack(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t, t.TempDir())
	raw, s := keysOf(t, addr), clustered(t, addr)
	s.backend.attendFor = 2 * time.Second // renewed every half second
	attend(t, s, "one").next(t, 1)
	before := onlyKey(t, raw, 0)
	for what, take := range map[string]func(id clientv3.LeaseID, key string) error{
		"key":   func(_ clientv3.LeaseID, key string) error { _, err := raw.Delete(t.Context(), key); return err },
		"lease": func(id clientv3.LeaseID, _ string) error { _, err := raw.Revoke(t.Context(), id); return err },
	} {
		if err := take(clientv3.LeaseID(before.Lease), string(before.Key)); err != nil {
			t.Fatal(err)
		}
		after := onlyKey(t, raw, before.ModRevision)
		if string(after.Key) != string(before.Key) || (after.Lease == before.Lease) != (what == "key") {
			t.Errorf("without its %s: %s under lease %x, before under %x", what, after.Key, after.Lease, before.Lease)
		}
		before = after
	}
}

// onlyKey waits for the one key of a handle at work, written after a revision.
func onlyKey(t *testing.T, raw *clientv3.Client, after int64) *mvccpb.KeyValue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for answer := range raw.Watch(ctx, replicas, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithFilterDelete()) {
		for _, e := range answer.Events {
			return e.Kv
		}
	}
	t.Fatal("there is no key")
	return nil
}
