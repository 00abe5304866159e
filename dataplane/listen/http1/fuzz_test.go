package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// script is a connection that says fixed bytes, step at a time, and then hangs up.
type script struct {
	say  []byte
	step int
	said bytes.Buffer // to it
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.say) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.say)
	s.say = s.say[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.said.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// play serves a script.
func play(t *testing.T, s *script, h handle) (over []byte) {
	t.Helper()
	srv, err := http1.New(http1.Config{Handle: h, Log: quiet, Fallback: func(c net.Conn) { over, _ = io.ReadAll(c) }})
	fatal(t, err)
	srv.Serve(s)
	return over
}

func seeds(f *testing.F) {
	for _, q := range unusual {
		f.Add([]byte(q), uint8(255))
		f.Add([]byte(q), uint8(0))
	}
	for _, q := range []string{post + "Content-Length: 3\r\n\r\nabc", get + "\r\n" + get + "\r\n", benchHead + "\r\n", get + "Connection: close\r\n\r\n",
		"GET /?%00 HTTP/1.1\r\nhOsT: [::1]\r\nx-a:\t \r\n\r\n", "GET //a:b@c/..;d HTTP/1.1\r\nHost: a\r\nHosT : b\r\n\r\n"} {
		f.Add([]byte(q), uint8(2))
	}
}

// FuzzHead: what is taken here, net/http takes as well, and both understand the same.
func FuzzHead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, q []byte, n uint8) {
		first := true
		in := bytes.NewReader(q)
		br := bufio.NewReader(in)
		over := play(t, &script{say: bytes.Clone(q), step: int(n)*16 + 1}, func(got *request.Inbound, sink reply.Sink) {
			want, err := http.ReadRequest(br)
			if err != nil {
				t.Fatalf("net/http refuses what was taken here: %v", err)
			}
			agree(t, got, want)
			body, err := io.ReadAll(got.Body)
			same, err2 := io.ReadAll(want.Body)
			if !bytes.Equal(body, same) || (err == nil) != (err2 == nil) {
				t.Fatalf("body %q, %v; net/http %q, %v", body, err, same, err2)
			}
			first = false
			sink.WriteHeader(http.StatusNoContent)
		})
		if rest, _ := io.ReadAll(br); over != nil && !bytes.Equal(over, rest) {
			t.Fatalf("handed over %q, unread was %q", over, rest)
		}
		if first && len(q) > 0 && !bytes.Equal(over, q) {
			t.Fatalf("neither taken nor handed over whole: %q", over)
		}
	})
}

func agree(t *testing.T, got *request.Inbound, want *http.Request) {
	t.Helper()
	path, _, _ := strings.Cut(want.RequestURI, "?")
	if got.Method != want.Method || got.Path != path || got.Host != want.Host || got.Length != want.ContentLength || got.Proto != want.Proto {
		t.Fatalf("%+v, net/http %+v", got, want)
	}
	if len(want.TransferEncoding) > 0 || len(want.Trailer) > 0 || !reflect.DeepEqual(got.Header, want.Header) {
		t.Fatalf("%v, net/http %v, %v, %v", got.Header, want.Header, want.TransferEncoding, want.Trailer)
	}
	for _, k := range slices.Collect(maps.Keys(got.Header)) {
		if k != http.CanonicalHeaderKey(k) {
			t.Fatalf("key %q", k)
		}
	}
}

// FuzzConn: whatever comes and whatever is answered, nothing panics, and the answers are HTTP.
func FuzzConn(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, q []byte, n uint8) {
		s := &script{say: bytes.Clone(q), step: int(n)*16 + 1}
		answers, cut := 0, false
		play(t, s, func(in *request.Inbound, sink reply.Sink) {
			answers++
			p := make([]byte, int(n)*100)
			k, err := in.Body.Read(p)
			sink.Header()["X-Path"] = []string{in.Path + "\r\n" + string(p[:k])}
			sink.Header()[string(p[:min(k, 5)])] = []string{"x"}
			if n%3 == 1 {
				sink.Header().Set("Content-Length", itoa(k))
			}
			sink.Write(p[:k])
			sink.Flush()
			if cut = n%5 == 4 || cut; n%5 == 4 {
				sink.Abort()
			}
			cut = cut || err != nil && !errors.Is(err, io.EOF)
		})
		br := bufio.NewReader(&s.said)
		for i := range answers {
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("answer %d of %d: %v", i, answers, err)
			}
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil && !cut {
				t.Fatalf("answer %d of %d: %v", i, answers, err)
			}
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Fatalf("%q came after the answers", rest)
		}
	})
}
