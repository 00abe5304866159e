package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestCallAgainstNetHTTP(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		switch q.Header.Get("X-Want") {
		case "echo":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Mcp-Session-Id", "s-1")
			w.Write(body)
		case "chunked":
			for range 3 {
				io.WriteString(w, "part ")
				w.(http.Flusher).Flush()
			}
		case "big":
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			io.WriteString(w, big)
		case "big chunked":
			io.WriteString(w, big)
		case "accepted":
			w.WriteHeader(http.StatusAccepted)
		case "nothing":
			w.WriteHeader(http.StatusNoContent)
		case "redirect":
			http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect)
		case "early hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusContinue)
			io.WriteString(w, "final")
		case "method":
			fmt.Fprint(w, q.Method, " ", q.URL, " ", q.Host, " ", q.ContentLength)
		}
	})
	for want, expect := range map[string]struct {
		status int
		body   string
	}{
		"echo": {200, ping}, "chunked": {200, "part part part "}, "big": {200, big}, "big chunked": {200, big}, "accepted": {202, ""}, "nothing": {204, ""},
		"redirect": {307, ""}, "early hints": {200, "final"}, "method": {200, "POST /mcp " + to.Host + " 40"},
	} {
		t.Run(want, func(t *testing.T) {
			q := post(ping)
			q.Fields = append(q.Fields, "X-Want: "+want+"\r\n"...)
			for range 3 {
				status, body, err := call(c, to, q)
				if err != nil || status != expect.status || body != expect.body {
					t.Fatalf("got %d %.60q, %v; want %d %.60q", status, body, err, expect.status, expect.body)
				}
			}
		})
	}
}

func TestMethodsOnTheWire(t *testing.T) {
	got := make(chan string, 1)
	addr := listen(t, func(c net.Conn) {
		br, text := bufio.NewReader(c), ""
		for {
			l, err := br.ReadString('\n')
			if text += l; err != nil {
				return
			}
			if l == "\r\n" {
				break
			}
		}
		got <- text
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	})
	c := newClient(t, transport.Config{})
	for method, want := range map[string]string{
		"GET":    "GET /mcp HTTP/1.1\r\nHost: " + addr + "\r\nA: b\r\n\r\n",
		"DELETE": "DELETE /mcp HTTP/1.1\r\nHost: " + addr + "\r\nA: b\r\n\r\n",
		"HEAD":   "HEAD /mcp HTTP/1.1\r\nHost: " + addr + "\r\nA: b\r\n\r\n",
		"POST":   "POST /mcp HTTP/1.1\r\nHost: " + addr + "\r\nA: b\r\nContent-Length: 0\r\n\r\n",
	} {
		if _, _, err := call(c, targetAt(addr), &transport.Request{Method: method, Fields: []byte("A: b\r\n")}); err != nil {
			t.Fatal(method, err)
		}
		if text := <-got; text != want {
			t.Errorf("%s sent %q, want %q", method, text, want)
		}
	}
}

func TestRequestThatWouldBreakTheFramingIsRefused(t *testing.T) {
	c := newClient(t, transport.Config{})
	good := targetAt("127.0.0.1:1")
	split := *good
	split.Path = "/a HTTP/1.1\r\nX: y"
	for name, try := range map[string]struct {
		to *table.Target
		q  *transport.Request
	}{
		"no target": {nil, post("")}, "path": {&split, post("")}, "method": {good, &transport.Request{Method: "GE T"}},
		"fields": {good, &transport.Request{Method: "GET", Fields: []byte("A: b")}},
	} {
		_, err := c.Do(context.Background(), try.to, try.q, nil)
		if f := fault.As(err); f == nil || f.Kind != fault.Internal || f.Hop != fault.Gateway {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	long := strings.Repeat("v", 2000) // does not fit the inline store
	addr := listen(t, answering("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Two:  one \t\r\nx-two: two\r\nEmpty:\r\nLong: "+long+"\r\nContent-Length: 2\r\n\r\n{}", false))
	c := newClient(t, transport.Config{})
	res, err := c.Do(context.Background(), targetAt(addr), post(ping), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := res.Header
	res.Close()
	if _, _, err := call(c, targetAt(addr), post(ping)); err != nil { // the connection works on; the header stays
		t.Fatal(err)
	}
	if kept.Get("x-TWO") != "one" || kept.Get("empty") != "" || kept.Get("nope") != "" || kept.Get("long") != long || kept.Len() != 6 {
		t.Errorf("header: %q %q %d", kept.Get("x-TWO"), kept.Get("empty"), kept.Len())
	}
	if got := slices.Collect(kept.Values("X-Two")); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("values = %q", got)
	}
	for name, value := range kept.All() {
		if name != "Content-Type" || value != "application/json" {
			t.Errorf("first = %q: %q", name, value)
		}
		break
	}
}

func TestContentTypes(t *testing.T) {
	c := newClient(t, transport.Config{})
	for value, want := range map[string]transport.ContentType{
		"application/json": transport.JSON, "Application/JSON; charset=utf-8": transport.JSON, "application/problem+json": transport.JSON,
		"text/event-stream": transport.SSE, "Text/Event-Stream;charset=utf-8": transport.SSE, "text/html": transport.HTML, "application/xhtml+xml": transport.HTML,
		"text/plain": transport.Other, "": transport.Other, "application/jsonp": transport.Other,
	} {
		addr := listen(t, answering("HTTP/1.1 200 OK\r\nContent-Type: "+value+"\r\nContent-Length: 0\r\n\r\n", true))
		res, err := c.Do(context.Background(), targetAt(addr), post(ping), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.ContentType() != want || res.Length() != 0 {
			t.Errorf("%q: %v, length %d", value, res.ContentType(), res.Length())
		}
		res.Close()
	}
}

func TestTimingTellsTheSteps(t *testing.T) {
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "{}") })
	var tm telemetry.Timing
	for i := range 2 {
		tm.DNSStart = time.Now() // what an earlier call left behind is cleared
		res, err := c.Do(context.Background(), to, post(ping), &tm)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := res.ReadAll(nil, 0); err != nil {
			t.Fatal(err)
		}
		res.Close()
		if reused := i == 1; tm.Reused != reused || tm.ConnStart.IsZero() != reused || tm.ConnDone.IsZero() != reused {
			t.Errorf("call %d: %+v", i, tm)
		}
		if !tm.DNSStart.IsZero() || !tm.TLSStart.IsZero() || tm.Remote != to.Addr {
			t.Errorf("call %d: %+v", i, tm)
		}
		steps := []time.Time{tm.Start, tm.Sent, tm.Headers, tm.First, tm.End}
		if !slices.IsSortedFunc(steps, time.Time.Compare) || slices.ContainsFunc(steps, time.Time.IsZero) {
			t.Errorf("call %d: steps out of order: %v", i, steps)
		}
	}
}

func TestReadStreamsALongBody(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	for _, chunked := range []bool{false, true} {
		c, to := serve(t, func(w http.ResponseWriter, q *http.Request) {
			if !chunked {
				w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			}
			io.WriteString(w, big)
		})
		for _, size := range []int{100, 5000, 100_000} {
			res, err := c.Do(context.Background(), to, post(ping), nil)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			_, err = io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{res}, make([]byte, size))
			if err != nil || b.String() != big {
				t.Errorf("chunked %v, size %d: %d bytes, %v", chunked, size, b.Len(), err)
			}
			res.Close()
		}
	}
}

func TestResultLimit(t *testing.T) {
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) {
		if q.ContentLength == 1 {
			w.Header().Set("Content-Length", "100000")
		}
		io.WriteString(w, strings.Repeat("x", 100_000))
	})
	for _, body := range []string{"1", "22"} { // with a length, chunked
		for _, limit := range []int64{1, 4096, 99_999} {
			res, err := c.Do(context.Background(), to, post(body), nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := res.ReadAll([]byte("kept"), limit)
			f := wantFault(t, err, fault.Body, fault.TooLarge)
			if f.UpstreamStatus != 200 || int64(len(b)-4) > limit || !strings.HasPrefix(string(b), "kept") {
				t.Errorf("status %d, %d bytes", f.UpstreamStatus, len(b))
			}
			res.Close()
			q := post(body)
			q.ResultLimit = limit
			_, _, err = call(c, to, q)
			wantFault(t, err, fault.Body, fault.TooLarge)
			res, err = c.Do(context.Background(), to, q, nil)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, struct{ io.Reader }{res})
			wantFault(t, err, fault.Body, fault.TooLarge)
			if n > limit {
				t.Errorf("%d bytes delivered above the limit of %d", n, limit)
			}
			res.Close()
		}
		res, err := c.Do(context.Background(), to, post(body), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := res.ReadAll(nil, 100_000); err != nil || len(b) != 100_000 {
			t.Errorf("at the limit: %d bytes, %v", len(b), err)
		}
		res.Close()
	}
}

func TestClosedResponseCannotBeRead(t *testing.T) {
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "{}") })
	res, err := c.Do(context.Background(), to, post(ping), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	res.Close()
	if b, err := res.ReadAll(nil, 0); err == nil {
		t.Errorf("read %q after Close", b)
	}
	if _, err := res.Read(make([]byte, 10)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := res.NextEvent(nil, 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("event after Close: %v", err)
	}
}

func TestConfigRefusesNegativeNumbers(t *testing.T) {
	for _, cfg := range []transport.Config{{MaxIdlePerTarget: -1}, {IdleTimeout: -1}} {
		if _, err := transport.New(cfg); err == nil || !strings.Contains(err.Error(), "use 0 for the default") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
