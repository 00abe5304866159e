package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// script is a connection that answers with fixed bytes, step at a time, and then hangs up. It counts what was taken from it.
type script struct {
	answer []byte
	step   int
	taken  int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.answer) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.answer)
	s.answer = s.answer[n:]
	s.taken += n
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// play calls a server that answers with the script.
func play(t *testing.T, s *script) (*transport.Response, error) {
	t.Helper()
	c, err := transport.New(transport.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return s, nil }})
	if err != nil {
		t.Fatal(err)
	}
	var tm telemetry.Timing
	return c.Do(context.Background(), targetAt("127.0.0.1:1"), &transport.Request{Method: "POST", Timeouts: table.Timeouts{}}, &tm)
}

// sane checks what must hold of every failure.
func sane(t *testing.T, err error) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Hop != fault.Upstream || f.Message == "" {
		t.Fatalf("not a fault of the upstream: %v", err)
	}
	switch f.Kind {
	case fault.Malformed, fault.Reset, fault.TooLarge, fault.Unsupported:
	default:
		t.Fatalf("kind %v", f.Kind)
	}
}

func step(n uint8) int { return int(n)*16 + 1 }

func FuzzResponseHead(f *testing.F) {
	for _, h := range hostile {
		f.Add([]byte(h.answer), uint8(255))
		f.Add([]byte(h.answer), uint8(0))
	}
	f.Add([]byte(small), uint8(3))
	f.Fuzz(func(t *testing.T, answer []byte, n uint8) {
		s := &script{answer: bytes.Clone(answer), step: step(n)}
		res, err := play(t, s)
		if err != nil {
			if sane(t, err); s.taken > 9*(64<<10)+(64<<10) {
				t.Fatalf("%d bytes were read for a head", s.taken)
			}
			return
		}
		if res.Status < 200 || res.Status > 599 || res.Header.Len() > 128 {
			t.Fatalf("status %d, %d fields", res.Status, res.Header.Len())
		}
		for name, value := range res.Header.All() {
			if name == "" || strings.ContainsAny(name+value, "\r\n\x00") || strings.TrimSpace(value) != strings.Trim(value, " \t") && !strings.Contains(value, "\x85") && !strings.Contains(value, "\xa0") {
				t.Fatalf("field %q: %q", name, value)
			}
		}
		const limit = 1 << 10
		body, err := res.ReadAll(nil, limit)
		if err != nil {
			sane(t, err)
		}
		if len(body) > limit || err == nil && res.Length() >= 0 && int64(len(body)) != res.Length() {
			t.Fatalf("%d bytes, length %d", len(body), res.Length())
		}
		res.Close()
	})
}

func FuzzChunked(f *testing.F) {
	const head = ok + "Transfer-Encoding: chunked\r\n\r\n"
	for _, h := range hostile {
		if body, found := strings.CutPrefix(h.answer, head); found {
			f.Add([]byte(body), uint8(255), uint16(100))
		}
	}
	f.Add([]byte(chunks("hello, world", 3)), uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, body []byte, n uint8, size uint16) {
		var got [2]string
		var errs [2]error
		for i := range got { // two ways to read have to agree
			res, err := play(t, &script{answer: append([]byte(head), body...), step: step(n)})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				var b []byte
				b, errs[i] = res.ReadAll(nil, 0)
				got[i] = string(b)
			} else {
				var b bytes.Buffer
				_, errs[i] = io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{res}, make([]byte, int(size)+1))
				got[i] = b.String()
			}
			res.Close()
		}
		if got[0] != got[1] || (errs[0] == nil) != (errs[1] == nil) {
			t.Fatalf("ReadAll %q, %v; Read %q, %v", got[0], errs[0], got[1], errs[1])
		}
		if errs[0] != nil {
			sane(t, errs[0])
		} else if len(got[0]) > len(body) {
			t.Fatal("more than was sent")
		}
		// What was encoded here comes out as it went in.
		res, err := play(t, &script{answer: []byte(head + chunks(string(body), int(size)+1)), step: step(n)})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := res.ReadAll(nil, 0); err != nil || !bytes.Equal(b, body) {
			t.Fatalf("round trip: %q, %v", b, err)
		}
		res.Close()
	})
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: a\n\ndata: b\r\n\r\n", "\xef\xbb\xbfdata: a\r\rdata: b", ": x\n\n\n\n\r\n\rid\n", "data\r\n", "a\r\n\r\nb\n\r\n"} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(255))
	}
	f.Fuzz(func(t *testing.T, stream []byte, n uint8) {
		const limit = 200
		s := &script{answer: append([]byte(sse+"\r\n"), stream...), step: step(n)}
		res, err := play(t, s)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		var all []byte
		for {
			event, err := res.NextEvent(nil, limit)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					sane(t, err)
					return
				}
				break
			}
			if len(event) > limit+2 || !ended(event) || event[0] == '\n' || event[0] == '\r' {
				t.Fatalf("event %q", event)
			}
			all = append(all, event...)
		}
		// Seen as lines, nothing but empty ones, the mark and an unfinished end is missing, and nothing is new.
		want := lines(bytes.TrimPrefix(stream, []byte("\xef\xbb\xbf")))
		if got := lines(all); !strings.HasPrefix(want, got) || strings.Contains(strings.TrimPrefix(want, got), "\ndata:") {
			t.Fatalf("got %q of %q", got, want)
		}
	})
}

// ended reports whether an event ends with an empty line.
func ended(e []byte) bool {
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r", "\r\n\r\n", "\n\r", "\n\r\n", "\r\r\n"} {
		if bytes.HasSuffix(e, []byte(end)) {
			return true
		}
	}
	return false
}

// lines normalises line ends and drops empty lines.
func lines(b []byte) string {
	s := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(b))
	var out strings.Builder
	for l := range strings.SplitSeq(s, "\n") {
		if l != "" {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}
