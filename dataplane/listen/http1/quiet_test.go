package http1_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// streaming opens an event stream and holds it until its caller leaves.
func streaming(in *request.Inbound, sink reply.Sink) {
	sink.Header()["Content-Type"] = []string{"text/event-stream"}
	sink.WriteHeader(http.StatusOK)
	io.WriteString(sink, "data: 1\n\n") //nolint:errcheck // the test sees what is missing
	sink.Flush()                        //nolint:errcheck // as above
	<-in.Context.Done()
}

// Thousands of quiet streams cost little each: no buffer for what is sent and none for what is read. The callers' side is in this process, too.
func TestAQuietStreamKeepsNoBuffers(t *testing.T) {
	const n = 200
	r := serving(t, http1.Config{Handle: streaming})
	before := inUse()
	for range n {
		c, err := net.Dial("tcp", r.addr)
		fatal(t, err)
		defer c.Close() //nolint:errcheck // nothing is written any more
		fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(c, get+"\r\n")
		fatal(t, err)
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil) //nolint:bodyclose // the connection is closed
		fatal(t, err)
		var event [9]byte
		_, err = io.ReadFull(res.Body, event[:])
		fatal(t, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	each := 0
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-tick.C {
		if each = (inUse() - before) / n; each < 8<<10 {
			t.Logf("%d bytes each, both sides", each)
			return
		}
	}
	t.Errorf("a quiet stream keeps %d bytes", each)
}

// inUse is the heap after a collection.
func inUse() int {
	var m runtime.MemStats
	for range 3 { // a pool lets go with the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// What comes byte by byte while a long call lasts is as it was sent when its turn comes, also where it is more than the watcher waits with.
func TestWhatTricklesInDuringALongCallIsAnsweredAfterIt(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
		if in.Path == "/long" {
			sink.Flush() //nolint:errcheck // a watcher waits from here on
			began <- struct{}{}
			<-goOn
		}
		mirror(in, sink)
	}})
	c := r.dial(t)
	next := "POST /a HTTP/1.1\r\nHost: a\r\nX-Long: 0123456789012345678901234567890123456789\r\nContent-Length: 2\r\n\r\nab"
	for cut := range len(next) {
		c.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
		within(t, "the long call", began)
		c.send(next[:cut])
		c.send(next[cut:])
		goOn <- struct{}{}
		c.hears("GET /long ")
		c.hears("POST /a ab")
	}
}
