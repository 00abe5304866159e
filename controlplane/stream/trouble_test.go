package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestABadHelloIsRefusedWithEveryViolation(t *testing.T) {
	c := cptest.New(t, cptest.Config{})
	cases := map[string]struct {
		hello *syncv1.Hello
		want  []string
	}{
		"nothing":     {&syncv1.Hello{}, []string{"hello.node", "hello.region"}},
		"spaces":      {&syncv1.Hello{Node: "a b", Region: "EU"}, []string{"hello.node", "hello.region"}},
		"long":        {&syncv1.Hello{Node: strings.Repeat("n", 200), Region: "eu", Group: "-"}, []string{"hello.node", "hello.group"}},
		"half digest": {&syncv1.Hello{Node: "n", Region: "eu", Digest: []byte("abc")}, []string{"hello.digest"}},
		"no hello":    {nil, []string{"isn't a hello"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := dial(t, c)
			m := &syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: tc.hello}}
			if tc.hello == nil {
				m = &syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: &syncv1.Health{}}}
			}
			p.send(m)
			err := p.end()
			for _, want := range tc.want {
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
					t.Errorf("the stream ended with %v, want %s", err, want)
				}
			}
		})
	}
}

func TestAStreamWithoutHelloEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		if err := dial(t, c).end(); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the stream ended with %v, want DEADLINE_EXCEEDED", err)
		}
	})
}

func TestTheNewerStreamOfANodeWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		older := join(t, c, hello("n1"))
		newer := join(t, c, hello("n1"))
		if err := older.end(); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), `"n1"`) {
			t.Errorf("the older stream ended with %v, want ABORTED naming the node", err)
		}
		newer.take()
		quiet()
		if n := c.Fleet().Nodes(); len(n) != 1 || !n[0].GetConnected() || !n[0].GetInSync() {
			t.Errorf("the fleet is %v, want the node once, connected and in sync", n)
		}
	})
}

func TestADataPlaneThatStopsReadingIsClosedAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		stuck := join(t, c, hello("stuck"), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
		good := join(t, c, hello("good"))
		stuck.take()
		good.take()
		quiet()
		var big []confset.Object
		for i := range 3 {
			big = append(big, confset.NewObject(confset.Key{Kind: "server", Name: fmt.Sprintf("big%d", i)}, "u", make([]byte, 900<<10)))
		}
		began := time.Now()
		c.Commit(cptest.Change{Raw: big})
		good.take()
		if wait := time.Since(began); wait != 0 {
			t.Errorf("the good data plane waited %v", wait)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		for _, n := range c.Fleet().Nodes() {
			if n.GetConnected() == (n.GetNode() == "stuck") {
				t.Errorf("%s: connected %v after 11 s", n.GetNode(), n.GetConnected())
			}
		}
		if err := stuck.end(); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "10s") {
			t.Errorf("the stuck stream ended with %v, want ABORTED with the time", err)
		}
	})
}

func TestADataPlaneThatDoesNotAnswerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		began := time.Now()
		go func() {
			for range 5 { // reports of health don't count as an answer
				time.Sleep(5 * time.Second)
				_ = p.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: &syncv1.Health{}}})
			}
		}()
		if err := p.end(); status.Code(err) != codes.Aborted || time.Since(began) != 30*time.Second {
			t.Errorf("the stream ended with %v after %v, want ABORTED after 30 s", err, time.Since(began))
		}
	})
}

func TestNewStreamsAreRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{Stream: func(sc *stream.Config) { sc.NewStreams = 5 }})
		conn, err := c.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			open(t, conn).hello(hello(fmt.Sprintf("n%d", i)))
		}
		err = open(t, conn).end()
		st := status.Convert(err)
		if st.Code() != codes.ResourceExhausted || len(st.Details()) != 1 {
			t.Fatalf("the sixth stream ended with %v, want RESOURCE_EXHAUSTED with a detail", err)
		}
		if r, ok := st.Details()[0].(*errdetails.RetryInfo); !ok || r.GetRetryDelay().AsDuration() < time.Second {
			t.Errorf("the detail is %v, want a delay of at least 1 s", st.Details()[0])
		}
		time.Sleep(time.Second)
		open(t, conn).hello(hello("n6"))
	})
}

func TestDrainAsksToMoveAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		var planes []*plane
		for i := range 10 {
			p := join(t, c, hello(fmt.Sprintf("n%d", i)))
			p.take()
			planes = append(planes, p)
		}
		drained := make(chan error, 1)
		go func() { drained <- c.Drain(context.Background()) }()
		delays := map[int32]bool{}
		for _, p := range planes {
			m := p.next().GetMove()
			if m == nil || m.GetReason() == "" || m.GetDelayMs() < 0 || m.GetDelayMs() > 5000 {
				t.Fatalf("got %v, want a move with reason and a delay up to 5 s", m)
			}
			delays[m.GetDelayMs()] = true
			time.AfterFunc(time.Duration(m.GetDelayMs())*time.Millisecond, p.cancel)
		}
		if len(delays) < 5 {
			t.Errorf("%d different delays for 10 data planes; want them spread", len(delays))
		}
		if err := <-drained; err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}

func TestDrainCutsStreamsThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		p.take()
		silent := dial(t, c)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := c.Drain(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 streams") {
			t.Errorf("drain: %v, want the deadline and the number of streams", err)
		}
		for _, p := range []*plane{p, silent} {
			if err := p.end(); status.Code(err) != codes.Unavailable {
				t.Errorf("the stream ended with %v, want UNAVAILABLE", err)
			}
		}
	})
}

func TestStrayAnswersAreCountedAndIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		u := p.take()
		p.ack(u)
		p.ack(&syncv1.Update{Nonce: 99})
		quiet()
		if got := metric(t, c.Registry(), "hopgate_acks_total", "stray"); got != 2 {
			t.Errorf("%v stray answers were counted, want 2", got)
		}
		c.Put(server("a"))
		if u := p.take(); u.GetFull() || u.GetNonce() != 2 {
			t.Errorf("the next update is %v", u)
		}
	})
}
