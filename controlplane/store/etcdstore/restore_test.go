package etcdstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// dumped returns what a store lasts, and how many objects.
func dumped(t *testing.T, s *Store) (records []Record, objects int64) {
	t.Helper()
	d, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Records(t.Context(), func(r Record) error { records = append(records, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return records, d.Objects
}

func restoreRecord() store.ChangeRecord {
	return store.ChangeRecord{ID: storetest.ID(), Time: time.Now().UTC(), Author: "restore", Objects: []store.Changed{}}
}

// filled is a store in a cluster with more objects than one transaction takes.
func filled(t *testing.T) *Store {
	t.Helper()
	_, addr := startEtcd(t, t.TempDir())
	s := clustered(t, addr, func(cfg *ClusterConfig) { cfg.CommitWithin = 20 * time.Second })
	for i := range 5 {
		heads := make([]store.Head, 100)
		for j := range heads {
			heads[j] = storetest.Head("server", fmt.Sprintf("s%d-%02d", i, j), fmt.Sprint("body ", i, j))
		}
		if _, err := s.Commit(t.Context(), storetest.Put(heads...)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestDumpLeavesOutWhatDoesNotLast(t *testing.T) {
	t.Parallel()
	s := filled(t)
	w := storetest.Put(storetest.Head("server", "asked", "x"))
	w.RequestID = "some request"
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	client := s.client.Load()
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	for key, opts := range map[string][]clientv3.OpOption{
		"status/one/all": nil, "later/leased": {clientv3.WithLease(lease.ID)}, "later/kept": nil,
	} {
		if _, err := client.Put(t.Context(), prefix+key, "x", opts...); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	records, objects := dumped(t, s)
	for _, r := range records {
		kind, _, _ := strings.Cut(r.Key, "/")
		seen[kind]++
	}
	if want := "map[change:6 later:1 meta:1 obj:501 spec:501]"; fmt.Sprint(seen) != want || objects != 501 {
		t.Errorf("dumped %v of %d objects, want %s", seen, objects, want)
	}
}

func TestRestoreThatLosesAnswersEndsWell(t *testing.T) {
	t.Parallel()
	s := filled(t)
	records, objects := dumped(t, s)
	client := s.client.Load()
	r := &road{KV: client.KV, fates: []fate{lost, passes, lost, lost, lost}} // of the first transaction, then of some with records
	client.KV = r
	to, err := s.Restore(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, rec := range records {
		if err := to.Put(rec); err != nil {
			t.Fatal(err)
		}
	}
	to.flush()
	if err := to.flight.Wait(); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.fates = []fate{lost} // of the last transaction
	r.mu.Unlock()
	record := restoreRecord()
	epoch, revision, err := to.Finish(t.Context(), record, objects)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Load(t.Context())
	if err != nil || snap.Epoch != epoch || snap.Revision != revision || len(snap.Heads) != int(objects) || snap.Change.ID != record.ID {
		t.Errorf("epoch %s at %d; loaded %+v %v", epoch, revision, snap, err)
	}
}

func TestLateCopyOfARestoreWritesNothing(t *testing.T) {
	t.Parallel()
	s := filled(t)
	client := s.client.Load()
	r := &road{KV: client.KV, fates: []fate{passes, delayed}}
	client.KV = r
	to, err := s.Restore(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := to.Put(Record{Key: "later/a", Value: []byte("restored")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Finish(t.Context(), restoreRecord(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), prefix+"later/a"); err != nil {
		t.Fatal(err)
	}
	r.arrive()
	if resp, err := client.Get(t.Context(), prefix+"later/a"); err != nil || len(resp.Kvs) != 0 {
		t.Errorf("the late copy wrote: %v %v", resp.Kvs, err)
	}
}

func TestRestoreThatLostObjectsStaysClosed(t *testing.T) {
	t.Parallel()
	s := filled(t)
	to, err := s.Restore(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, _, err := to.Finish(t.Context(), restoreRecord(), 1); err == nil || !strings.Contains(err.Error(), "etcd holds 0 objects after 1") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("load: %v", err)
	}
}

func TestNobodyStampsAnEpochDuringARestore(t *testing.T) {
	t.Parallel()
	s := filled(t)
	client := s.client.Load()
	if _, err := client.Delete(t.Context(), epochKey); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), restoreKey, storetest.ID()); err != nil {
		t.Fatal(err)
	}
	if err := s.stamp(t.Context(), client, 0); err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Get(t.Context(), epochKey); err != nil || len(resp.Kvs) != 0 {
		t.Errorf("an epoch stands beside the mark: %v %v", resp.Kvs, err)
	}
}
