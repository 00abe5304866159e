package main

import (
	"math"
	"testing"
)

// A heap profile as a data plane gives it: sampled, so that what is small stands for more than it says.
const profile = `heap profile: 3: 1064960 [4: 1572864] @ heap/1048576
2: 1048576 [2: 1048576] @ 0x1 0x2
#	0x1	github.com/hopgate/hopgate/dataplane/request.New.func1+0x1	exchange.go:1
#	0x2	github.com/hopgate/hopgate/dataplane/listen.(*plain).handle+0x2	plain.go:2

1: 16384 [1: 16384] @ 0x3
#	0x3	github.com/hopgate/hopgate/dataplane/request/hop/transport.newConn+0x3	conn.go:3

0: 0 [1: 507904] @ 0x4
#	0x4	github.com/hopgate/hopgate/dataplane/listen/http1.newConn+0x4	conn.go:4

# runtime.MemStats
`

func TestTheHeapIsSplitByWhatMadeIt(t *testing.T) {
	got := split(profile)
	exchange, upstream := 1048576/(1-math.Exp(-1)), 16384/(1-math.Exp(-16384.0/rate))
	if math.Abs(got["exchange"]-exchange) > 1 || math.Abs(got["upstream leg"]-upstream) > 1 || len(got) != 2 {
		t.Errorf("%v; want exchange %.0f and upstream leg %.0f", got, exchange, upstream)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct{ of, want []float64 }{{[]float64{3, 1, 2}, []float64{2}}, {[]float64{4, 1, 2, 3}, []float64{2.5}}} {
		if got := median(c.of); got != c.want[0] {
			t.Errorf("%v: %v", c.of, got)
		}
	}
}
