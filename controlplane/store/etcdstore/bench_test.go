package etcdstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
)

// BenchmarkCommitToEvent measures from the start of a commit of one object to its event in a watch.
func BenchmarkCommitToEvent(b *testing.B) {
	s := embedded(b, b.TempDir())
	h := storetest.Head("server", "a", strings.Repeat("x", 1024))
	events := make(chan store.Event, 1)
	r, err := s.Commit(b.Context(), storetest.Put(h))
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(b.Context(), r.Revision-1, func(e store.Event) error { events <- e; return nil })
	}()
	<-events
	var commits, all []time.Duration
	for b.Loop() {
		h.Revision = r.Revision
		start := time.Now()
		if r, err = s.Commit(b.Context(), storetest.Put(h)); err != nil {
			b.Fatal(err)
		}
		commits = append(commits, time.Since(start))
		<-events
		all = append(all, time.Since(start))
	}
	for name, took := range map[string][]time.Duration{"commit": commits, "event": all} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), name+"-p99-µs")
	}
}

// BenchmarkLoad measures loading 10,000 objects with bodies of 300 bytes.
func BenchmarkLoad(b *testing.B) {
	s := embedded(b, b.TempDir())
	body := strings.Repeat("x", 290)
	for i := range 10 {
		heads := make([]store.Head, 1000)
		for j := range heads {
			heads[j] = storetest.Head("apikey", fmt.Sprintf("key-%02d-%04d", i, j), fmt.Sprint(body, i, j))
		}
		if _, err := s.Commit(b.Context(), storetest.Put(heads...)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if snap, err := s.Load(b.Context()); err != nil || len(snap.Heads) != 10_000 {
			b.Fatal(err)
		}
	}
}
