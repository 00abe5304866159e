package http1_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// answering is a caller of a server whose every answer f gives.
func answering(t *testing.T, f func(sink reply.Sink)) *caller {
	r := serving(t, http1.Config{Handle: func(_ *request.Inbound, sink reply.Sink) { f(sink) }})
	return r.dial(t)
}

// rawAnswer is everything that comes back for one request that asks for the connection's end.
func rawAnswer(t *testing.T, f func(sink reply.Sink)) string {
	t.Helper()
	c := answering(t, func(sink reply.Sink) {
		sink.Header()["Date"] = []string{"today"}
		f(sink)
	})
	c.send(get + "Connection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	fatal(t, err)
	return string(b)
}

func TestAnswersOnTheWire(t *testing.T) {
	const common = "Date: today\r\nConnection: close\r\n"
	for name, tt := range map[string]struct {
		answer func(reply.Sink)
		want   string
	}{
		"nothing said":   {func(reply.Sink) {}, "HTTP/1.1 200 OK\r\n" + common + "Content-Length: 0\r\n\r\n"},
		"a status":       {func(s reply.Sink) { s.WriteHeader(http.StatusAccepted) }, "HTTP/1.1 202 Accepted\r\n" + common + "Content-Length: 0\r\n\r\n"},
		"only the first": {func(s reply.Sink) { s.WriteHeader(http.StatusMethodNotAllowed); s.WriteHeader(http.StatusOK) }, "HTTP/1.1 405 Method Not Allowed\r\n" + common + "Content-Length: 0\r\n\r\n"},
		"204": {func(s reply.Sink) {
			s.Header().Set("Content-Length", "0")
			s.WriteHeader(http.StatusNoContent)
			s.Flush()
		}, "HTTP/1.1 204 No Content\r\n" + common + "\r\n"},
		"304":           {func(s reply.Sink) { s.WriteHeader(http.StatusNotModified) }, "HTTP/1.1 304 Not Modified\r\n" + common + "\r\n"},
		"an own status": {func(s reply.Sink) { s.WriteHeader(499) }, "HTTP/1.1 499 \r\n" + common + "Content-Length: 0\r\n\r\n"},
		"interim":       {func(s reply.Sink) { s.WriteHeader(http.StatusEarlyHints); s.WriteHeader(http.StatusNotFound) }, "HTTP/1.1 404 Not Found\r\n" + common + "Content-Length: 0\r\n\r\n"},
		"a whole":       {func(s reply.Sink) { whole(s, "abc") }, "HTTP/1.1 200 OK\r\n" + common + "Content-Length: 3\r\n\r\nabc"},
		"pieces": {func(s reply.Sink) {
			io.WriteString(s, "a")
			io.WriteString(s, "")
			io.WriteString(s, strings.Repeat("b", 17))
		}, "HTTP/1.1 200 OK\r\n" + common + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n11\r\nbbbbbbbbbbbbbbbbb\r\n0\r\n\r\n"},
		"a wrong length":   {func(s reply.Sink) { s.Header().Set("Content-Length", "-3"); io.WriteString(s, "a") }, "HTTP/1.1 200 OK\r\n" + common + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"},
		"framing by hand":  {func(s reply.Sink) { s.Header().Set("Transfer-Encoding", "gzip"); whole(s, "a") }, "HTTP/1.1 200 OK\r\n" + common + "Content-Length: 1\r\n\r\na"},
		"too late a field": {func(s reply.Sink) { s.WriteHeader(http.StatusOK); s.Header().Set("X", "y"); io.WriteString(s, "a") }, "HTTP/1.1 200 OK\r\n" + common + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"},
		"trailers": {func(s reply.Sink) {
			s.Header()[http.TrailerPrefix+"X-Early"] = []string{"1"}
			s.Flush()
			delete(s.Header(), http.TrailerPrefix+"X-Early")
			s.Header()[http.TrailerPrefix+"X-Hopgate-Error"] = []string{"up\r\nX: stream"}
		}, "HTTP/1.1 200 OK\r\n" + common + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Hopgate-Error: up  X: stream\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rawAnswer(t, tt.answer); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestHeaderValuesNeverEndALine(t *testing.T) {
	got := rawAnswer(t, func(s reply.Sink) {
		s.Header()["X-A"] = []string{"1\r\nX-Evil: 1\n\nbody\x00", "2"}
		s.Header()["X-Bad\r\nX-Evil"] = []string{"1"}
		s.Header()["X-Bad:X-Evil"] = []string{"1"}
		s.Header()[""] = []string{"1"}
		s.WriteHeader(http.StatusNoContent)
	})
	for _, l := range strings.Split(got, "\r\n") {
		if strings.HasPrefix(l, "X-Evil") || strings.Contains(l, "\n") || strings.HasPrefix(l, "X-Bad") || strings.HasPrefix(l, ":") {
			t.Errorf("%q", l)
		}
	}
	if !strings.Contains(got, "X-A: 1  X-Evil: 1  body \r\nX-A: 2\r\n") {
		t.Errorf("%q", got)
	}
}

func TestTheDateIsThatOfNow(t *testing.T) {
	c := answering(t, func(s reply.Sink) { whole(s, "") })
	res := c.says(get+"\r\n", "")
	if d, err := http.ParseTime(res.header.Get("Date")); err != nil || time.Since(d) > 10*time.Second || time.Until(d) > 0 {
		t.Errorf("%v, %v", d, err)
	}
}

func TestAHeaderIsForgottenWithItsAnswer(t *testing.T) {
	n := 0
	c := answering(t, func(s reply.Sink) {
		if n++; n == 1 {
			s.Header().Set("X-First", "1")
		}
		whole(s, "")
	})
	c.says(get+"\r\n", "")
	if res := c.says(get+"\r\n", ""); res.header.Get("X-First") != "" {
		t.Error("it came again")
	}
}

func TestLargeAnswers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20_000)
	for name, counted := range map[string]bool{"with a length": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, func(s reply.Sink) {
				if counted {
					s.Header().Set("Content-Length", itoa(3*len(large)+3))
				}
				for range 3 {
					io.WriteString(s, "x")
					if n, err := io.WriteString(s, large); n != len(large) || err != nil {
						t.Error(n, err)
					}
				}
			})
			for range 2 {
				c.says(get+"\r\n", strings.Repeat("x"+large, 3))
			}
		})
	}
}

func TestMoreThanTheDeclaredLengthIsntTaken(t *testing.T) {
	c := answering(t, func(s reply.Sink) {
		s.Header().Set("Content-Length", "2")
		if n, err := io.WriteString(s, "abc"); n != 2 || !errors.Is(err, http.ErrContentLength) {
			t.Error(n, err)
		}
	})
	c.says(get+"\r\n", "ab")
	c.says(get+"\r\n", "ab")
}

func TestUnfinishedAnswersAreSeenAsSuch(t *testing.T) {
	for name, answer := range map[string]func(reply.Sink){
		"aborted, unflushed": func(s reply.Sink) {
			s.WriteHeader(http.StatusOK)
			io.WriteString(s, "a")
			s.Abort()
			io.WriteString(s, "b")
		},
		"aborted, flushed":          func(s reply.Sink) { io.WriteString(s, "a"); s.Flush(); s.Abort(); s.Flush() },
		"aborted with a length":     func(s reply.Sink) { s.Header().Set("Content-Length", "3"); io.WriteString(s, "a"); s.Abort() },
		"less than declared":        func(s reply.Sink) { s.Header().Set("Content-Length", "3"); io.WriteString(s, "a") },
		"a panic":                   func(s reply.Sink) { io.WriteString(s, "a"); panic("for the test") },
		"the panic that means just": func(s reply.Sink) { io.WriteString(s, "a"); s.Flush(); panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, answer)
			c.send(get + "\r\n")
			if res, got, err := c.answer(); !errors.Is(err, io.ErrUnexpectedEOF) || got != "a" && got != "" {
				t.Errorf("%v %q, %v", res, got, err)
			}
			c.ended()
		})
	}
}

func TestAbortedBeforeTheHead(t *testing.T) {
	c := answering(t, func(s reply.Sink) { s.Abort(); s.WriteHeader(http.StatusOK); io.WriteString(s, "a") })
	c.send(get + "\r\n")
	c.ended()
}

func TestEventsLeaveAtOnce(t *testing.T) {
	seen := make(chan struct{})
	c := answering(t, func(s reply.Sink) {
		s.Header().Set("Content-Type", "text/event-stream")
		s.WriteHeader(http.StatusOK)
		fatal(t, s.Flush())
		for range 3 {
			within(t, "the caller's reading", seen)
			io.WriteString(s, "data: x\n\n")
			fatal(t, s.Flush())
		}
		within(t, "the caller's reading", seen)
		s.Header()[http.TrailerPrefix+"X-Hopgate-Error"] = []string{"e"}
	})
	for range 2 {
		c.send(get + "\r\n")
		res, err := http.ReadResponse(c.br, nil)
		fatal(t, err)
		for range 3 {
			seen <- struct{}{}
			var event [9]byte
			if _, err := io.ReadFull(res.Body, event[:]); err != nil || string(event[:]) != "data: x\n\n" {
				t.Fatalf("%q, %v", event, err)
			}
		}
		seen <- struct{}{}
		rest, err := io.ReadAll(res.Body)
		res.Body.Close()
		if len(rest) > 0 || err != nil || res.Trailer.Get("X-Hopgate-Error") != "e" {
			t.Fatalf("%q, %v, %v", rest, err, res.Trailer)
		}
	}
}
