package catalogue_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// warmed returns a catalogue with n lists of 50 tools, and the keys and the server of them.
func warmed(tb testing.TB, n int, scoped bool) (*catalogue.Catalogue, []catalogue.Key, *table.Server) {
	tb.Helper()
	c, s := catalogue.New(catalogue.Config{MaxBytes: 1 << 30}), server()
	tb.Cleanup(c.Close)
	s.ListTTL = time.Hour
	src, keys := always(page("", numbered(50)...)), make([]catalogue.Key, n)
	for i := range keys {
		keys[i].Server = confset.HashBody(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		if scoped {
			keys[i] = catalogue.Key{Server: s.Hash, Scope: fmt.Sprintf("key:%032d", i)}
		}
		if _, err := c.List(context.Background(), keys[i], s, src); err != nil {
			tb.Fatal(err)
		}
	}
	return c, keys, s
}

// Goal: under 100 ns and no allocation. Run with -cpu 8.
func BenchmarkAWarmList(b *testing.B) {
	for _, shape := range []struct {
		name   string
		keys   int
		scoped bool
	}{{"2000 servers", 2000, false}, {"2000 principals", 2000, true}, {"one key", 1, false}} {
		b.Run(shape.name, func(b *testing.B) {
			c, keys, s := warmed(b, shape.keys, shape.scoped)
			src, ctx := always(nil), context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := c.List(ctx, keys[i%len(keys)], s, src); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// A walk of one page of 50 tools that is put into a catalogue of n lists: the cost of copying a part of the map is in it.
func BenchmarkAWalk(b *testing.B) {
	for _, n := range []int{1, 2000, 20_000} {
		b.Run(fmt.Sprint(n, " lists"), func(b *testing.B) {
			c, keys, s := warmed(b, n, true)
			src, ctx := always(page("", numbered(50)...)), context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c.Changed(s.Hash, catalogue.Tools)
				if _, err := c.List(ctx, keys[i%len(keys)], s, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAWarmLookUpAllocatesNothing(t *testing.T) {
	c, keys, s := warmed(t, 100, true)
	src, ctx := always(nil), context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		l, err := c.List(ctx, keys[7], s, src)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Find("tool7"); !ok {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
