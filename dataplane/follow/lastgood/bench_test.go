package lastgood_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/follow/lastgood"
	"github.com/hopgate/hopgate/proto/confset"
)

func full(tb testing.TB) *confset.Set {
	tb.Helper()
	objs := make([]confset.Object, 102_000)
	for i := range objs {
		objs[i] = server(fmt.Sprintf("object_%06d", i), fmt.Sprintf("%0220d", i))
	}
	s, err := confset.New(objs)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// One change, kept for good, beside 102,000 objects.
func BenchmarkAppend(b *testing.B) {
	w, _ := open(b, b.TempDir())
	w.good(w.apply(confset.Delta{Upserts: slices.Collect(full(b).All())}))
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		v := w.put("one", began.String())
		took = append(took, time.Since(began))
		b.StopTimer()
		if c, ok := w.store.Candidate(); ok && v.Revision%50 == 0 {
			w.good(c)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	w, _ := open(b, dir)
	w.good(w.apply(confset.Delta{Upserts: slices.Collect(full(b).All())}))
	for i := range 1000 {
		w.put(fmt.Sprint("later", i%10), fmt.Sprint(i))
	}
	w.clean()
	for b.Loop() {
		s, state, err := lastgood.Open(dir)
		if err != nil || state.Set.Len() != 102_010 {
			b.Fatal(state.Set.Len(), err)
		}
		b.StopTimer()
		s.MarkClean()
		s.Close()
		b.StartTimer()
	}
}
