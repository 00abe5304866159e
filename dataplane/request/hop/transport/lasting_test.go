package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// lasting opens a long-lived stream.
func lasting(t *testing.T, c *transport.Client, addr string) *transport.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	res, err := c.Do(ctx, targetAt(addr), &transport.Request{Method: "GET", Timeouts: limits, Stream: true}, new(telemetry.Timing))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A long-lived stream waits with a few bytes of room and takes more when more comes. Each event is sent once the one before has arrived, so
// that each begins with such a wait.
func TestEventsOfALongLivedStreamAreWholeWhateverTheirSize(t *testing.T) {
	var want []string
	for _, n := range []int{0, 1, 90, 110, 111, 112, 113, 114, 118, 119, 120, 121, 122, 250, 4000, 4080, 4090, 4096, 5000, 70_000, 300_000, 3} {
		want = append(want, "data: "+strings.Repeat("x", n)+"\n\n")
	}
	for framing, frame := range map[string]func(string) string{
		"until the end": func(s string) string { return s },
		"chunked":       func(s string) string { return strings.TrimSuffix(chunks(s, 1<<20), "0\r\n\r\n") },
	} {
		t.Run(framing, func(t *testing.T) {
			arrived, ends := make(chan struct{}, 1), ""
			defer close(arrived)
			head := sse + "\r\n"
			if framing == "chunked" {
				head, ends = sse+"Transfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"
			}
			addr := listen(t, func(c net.Conn) {
				if readRequest(bufio.NewReader(c)) != nil {
					return
				}
				io.WriteString(c, head) //nolint:errcheck // the test sees what is missing
				for _, event := range want {
					io.WriteString(c, frame(event)) //nolint:errcheck // as above
					<-arrived
				}
				io.WriteString(c, ends) //nolint:errcheck // as above
			})
			res := lasting(t, newClient(t, transport.Config{}), addr)
			defer res.Close()
			for _, event := range want {
				got, err := res.NextEvent(nil, 1<<20)
				if string(got) != event || err != nil {
					t.Fatalf("%d bytes, %v; want %d", len(got), err, len(event))
				}
				arrived <- struct{}{}
			}
			if _, err := res.NextEvent(nil, 1<<20); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		})
	}
}

// Thousands of streams that wait cost little each: no buffer for reading, none for writing. The other side of each is in this process, too.
func TestAWaitingStreamKeepsNoBuffers(t *testing.T) {
	const n = 200
	gone := make(chan struct{})
	end := sync.OnceFunc(func() { close(gone) })
	defer end()
	addr := listen(t, func(c net.Conn) {
		var request [512]byte
		c.Read(request[:])                                 //nolint:errcheck // the test sees what is missing
		io.WriteString(c, sse+"\r\n: there\n\n"+": and\n") //nolint:errcheck // as above
		<-gone
	})
	c := newClient(t, transport.Config{})
	before := inUse()
	streams := make([]*transport.Response, n)
	done := make(chan struct{}, n)
	for i := range streams {
		streams[i] = lasting(t, c, addr)
		if _, err := streams[i].NextEvent(nil, 0); err != nil {
			t.Fatal(err)
		}
		go func() {
			streams[i].NextEvent(nil, 0) //nolint:errcheck // it ends with the connection
			done <- struct{}{}
		}()
	}
	var each int
	eventually(t, "waiting streams keep less than 5 KiB", func() bool {
		each = (inUse() - before) / n
		return each < 5<<10
	})
	t.Logf("%d bytes each, both sides", each)
	end()
	for _, s := range streams {
		<-done
		defer s.Close()
	}
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

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	reads *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func TestALargeEventIsntReadInCrumbs(t *testing.T) {
	var reads atomic.Int64
	event := "data: " + strings.Repeat("x", 1<<20) + "\n\n"
	addr := listen(t, answering(sse+"\r\n"+event, true))
	c := newClient(t, transport.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{nc, &reads}, err
	}})
	res := lasting(t, c, addr)
	defer res.Close()
	if got, err := res.NextEvent(nil, 2<<20); string(got) != event || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := reads.Load(); n > 1000 { // the kernel may give less than there is room for
		t.Errorf("%d reads for 1 MiB", n)
	}
}
