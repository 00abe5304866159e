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

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

const sse = ok + "Content-Type: text/event-stream\r\n"

// events reads a stream to its end.
func events(t *testing.T, addr string, limit int64) ([]string, error) {
	t.Helper()
	c := newClient(t, transport.Config{})
	res, err := c.Do(context.Background(), targetAt(addr), post(ping), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var got []string
	for {
		b, err := res.NextEvent([]byte("before"), limit)
		if err != nil {
			if string(b) != "before" {
				t.Errorf("with the error came %q", b)
			}
			return got, err
		}
		got = append(got, strings.TrimPrefix(string(b), "before"))
	}
}

func TestEventsAreWholeAndRaw(t *testing.T) {
	long := "data: " + strings.Repeat("x", 300_000) + "\n\n"
	for _, v := range []struct {
		name, stream string
		want         []string
	}{
		{"LF", "id: 1\ndata: a\n\ndata: b\n\n", []string{"id: 1\ndata: a\n\n", "data: b\n\n"}},
		{"CRLF", "id: 1\r\ndata: a\r\n\r\ndata: b\r\n\r\n", []string{"id: 1\r\ndata: a\r\n\r\n", "data: b\r\n\r\n"}},
		{"CR", "id: 1\rdata: a\r\rdata: b\r\r", []string{"id: 1\rdata: a\r\r", "data: b\r\r"}},
		{"mixed", "data: a\r\n\ndata: b\n\r\n", []string{"data: a\r\n\n", "data: b\n\r\n"}},
		{"comment", ": ping\n\ndata: a\n\n", []string{": ping\n\n", "data: a\n\n"}},
		{"several data lines", "data: a\ndata: b\ndata:\n\n", []string{"data: a\ndata: b\ndata:\n\n"}},
		{"needless empty lines", "\n\r\n\rdata: a\n\n\n\n\ndata: b\n\n", []string{"data: a\n\n", "data: b\n\n"}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", []string{"data: a\n\n", "\xef\xbb\xbfdata: b\n\n"}},
		{"byte order mark alone", "\xef\xbb\xbf\n\ndata: a\n\n", []string{"data: a\n\n"}},
		{"byte order mark and empty line", "\xef\xbb\xbf\ndata: a\n\n", []string{"data: a\n\n"}},
		{"unfinished line with data", "data: a\n\ndata: {}", []string{"data: a\n\n", "data: {}\n\n"}},
		{"unfinished event with data", "event: message\ndata: {}\n", []string{"event: message\ndata: {}\n\n"}},
		{"unfinished, CR", "x\rdata\r", []string{"x\rdata\r\r"}},
		{"unfinished without data", "data: a\n\nevent: x\nid: 7", []string{"data: a\n\n"}},
		{"unfinished comment", ": bye", nil},
		{"empty", "", nil},
		{"long", long + "data: b\n\n", []string{long, "data: b\n\n"}},
	} {
		for framing, answer := range map[string]string{
			"until the end": sse + "\r\n" + v.stream,
			"length":        sse + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(v.stream)) + v.stream,
			"chunked":       sse + "Transfer-Encoding: chunked\r\n\r\n" + chunks(v.stream, 1<<20),
			"small chunks":  sse + "Transfer-Encoding: chunked\r\n\r\n" + chunks(v.stream, 1),
		} {
			if framing == "small chunks" && v.name == "long" {
				continue
			}
			t.Run(v.name+" "+framing, func(t *testing.T) {
				got, err := events(t, listen(t, answering(answer, true)), 1<<20)
				if !errors.Is(err, io.EOF) || strings.Join(got, "|") != strings.Join(tolerate(framing, got, v.want), "|") {
					t.Errorf("got %.200q, %v; want %.200q", got, err, v.want)
				}
			})
		}
	}
}

// tolerate allows for what NextEvent documents: an event that ends with CRLF, of which only the CR has arrived, is returned without
// the LF, since waiting for it could take forever.
func tolerate(framing string, got, want []string) []string {
	if framing != "small chunks" {
		return want
	}
	want = slices.Clone(want)
	for i := range min(len(got), len(want)) {
		if got[i]+"\n" == want[i] && strings.HasSuffix(got[i], "\r") {
			want[i] = got[i]
		}
	}
	return want
}

func chunks(s string, size int) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(size, len(s))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, s[:n])
		s = s[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func TestEventArrivesBeforeTheNextByte(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r", "\r\n\r"} {
		release := make(chan struct{})
		addr := listen(t, func(c net.Conn) {
			if readRequest(bufio.NewReader(c)) != nil {
				return
			}
			io.WriteString(c, sse+"\r\ndata: 1"+end)
			<-release
			io.WriteString(c, "data: 2\n\n")
		})
		c := newClient(t, transport.Config{})
		res, err := c.Do(context.Background(), targetAt(addr), post(ping), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"data: 1" + end, "data: 2\n\n"} {
			b, err := res.NextEvent(nil, 0)
			if err != nil || string(b) != want {
				t.Errorf("got %q, %v; want %q", b, err, want)
			}
			if strings.HasPrefix(want, "data: 1") {
				close(release)
			}
		}
		res.Close()
	}
}

func TestEventLimit(t *testing.T) {
	event := "data: 0123456789\n\n"
	n := int64(len(event))
	addr := listen(t, answering(sse+"Transfer-Encoding: chunked\r\n\r\n"+chunks(event+event, 7), true))
	if got, err := events(t, addr, n); !errors.Is(err, io.EOF) || len(got) != 2 {
		t.Errorf("at the limit: %q, %v", got, err)
	}
	_, err := events(t, addr, n-1)
	wantFault(t, err, fault.Stream, fault.TooLarge)

	endless := listen(t, func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		io.WriteString(c, sse+"\r\ndata: ")
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	_, err = events(t, endless, 1<<20)
	wantFault(t, err, fault.Stream, fault.TooLarge)
}

func TestCutStreamIsNoCleanEnd(t *testing.T) {
	c, to := serve(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\ndata: {\"half\"")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	res, err := c.Do(context.Background(), to, post(ping), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if b, err := res.NextEvent(nil, 0); err != nil || string(b) != "data: 1\n\n" {
		t.Fatalf("%q, %v", b, err)
	}
	for range 2 { // it stays that way
		_, err = res.NextEvent(nil, 0)
		if f := wantFault(t, err, fault.Stream, fault.Reset); f.UpstreamStatus != 200 {
			t.Errorf("upstream status %d", f.UpstreamStatus)
		}
	}
}
