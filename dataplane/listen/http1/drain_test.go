package http1_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

func TestADrainEndsIdleConnectionsAndLetsCallsFinish(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/long" {
			began <- struct{}{}
			<-goOn
		}
		mirror(in, sink)
	}})
	idle, busy, unused := r.dial(t), r.dial(t), r.dial(t)
	idle.says(get+"\r\n", "GET /echo/mcp ")
	busy.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "the call", began)
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(context.Background()) }()
	idle.ended()
	unused.ended()
	select {
	case err := <-done:
		t.Fatalf("the drain didn't wait: %v", err)
	default:
	}
	if n := r.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	close(goOn)
	if res := busy.hears("GET /long "); !res.close {
		t.Error("the answer doesn't say that the connection ends")
	}
	busy.ended()
	fatal(t, within(t, "the end of the drain", done))
	r.dial(t).ended() // nobody comes in any more
}

func TestADrainEndsWhatWasStreamedMeanwhile(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	r := serving(t, http1.Config{Handle: func(_ *request.Inbound, sink reply.Sink) {
		sink.Flush()
		began <- struct{}{}
		<-goOn
		sink.Write([]byte("x"))
	}})
	c := r.dial(t)
	c.send(get + "\r\n")
	within(t, "the stream", began)
	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(goOn)
	c.hears("x")
	c.ended()
	fatal(t, r.Shutdown(context.Background()))
}

func TestClosingEndsCallsAtOnce(t *testing.T) {
	for _, body := range []string{"Content-Length: 0\r\n\r\n", "Content-Length: 3\r\n\r\na"} { // the second: nobody could watch its caller
		began, over := make(chan struct{}), make(chan error, 1)
		r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
			began <- struct{}{}
			<-in.Context.Done()
			over <- in.Context.Err()
			whole(sink, "late")
		}})
		c := r.dial(t)
		c.send(post + body)
		within(t, "the call", began)
		r.Close()
		if err := within(t, "the end of the context", over); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.ended()
		fatal(t, r.Shutdown(context.Background()))
	}
}
