package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/controlplane/view"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const crowd = 1000

// One change of 1 KiB from commit to the last answer of 1,000 data planes, each on a connection of its own. Both ends run in this process.
func BenchmarkChangeToAThousandDataPlanes(b *testing.B) {
	c := cptest.New(b, cptest.Config{
		Stream: func(sc *stream.Config) { sc.NewStreams = 10 * crowd },
		View:   func(vc *view.Config) { vc.Debounce = time.Millisecond },
	})
	before := heap()
	for i := range crowd {
		p := join(b, c, hello(fmt.Sprintf("n%d", i)), grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(1<<20))
		go answerAll(p)
	}
	if _, err := c.Fleet().Wait(context.Background(), 1); err != nil {
		b.Fatal(err)
	}
	memory := float64(heap()-before) / crowd / 1024
	text := make([]byte, 700)
	for b.Loop() {
		for i := range text {
			text[i] = byte('a' + rand.N(26))
		}
		rev := c.Put(&configv1.Server{Name: "s", Labels: map[string]string{"text": string(text)}})
		d, err := c.Fleet().Wait(context.Background(), rev)
		if err != nil || d.GetApplied() != crowd {
			b.Fatalf("delivery %v: %v", d, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/crowd, "µs/stream")
	b.ReportMetric(memory, "KiB/stream")
}

// answerAll acks every update without building the set.
func answerAll(p *plane) {
	for {
		m, err := p.stream.Recv()
		if err != nil {
			return
		}
		if u := m.GetUpdate(); u != nil && !u.GetMore() {
			ack := &syncv1.Ack{Nonce: u.GetNonce(), Digest: u.GetDigest(), Revision: u.GetRevision()}
			_ = p.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: ack}})
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
