package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/proto/fault"
)

// stranger listens at an address that was a data plane's, and keeps every byte that comes.
type stranger struct {
	address   string
	answering sync.Mutex // one connection at a time

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
}

func (s *stranger) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(p)
}

func (s *stranger) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// newStranger answers the head of each connection's first request with what answer says, and reads on until the other end closes.
func newStranger(t testing.TB, answer func(c net.Conn, challenge string)) *stranger {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	s := &stranger{address: "http://" + l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close() //nolint:errcheck // nothing to be done about it
				r := bufio.NewReader(io.TeeReader(c, s))
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				s.answering.Lock()
				answer(c, req.Header.Get(peer.ChallengeHeader))
				s.answering.Unlock()
				io.Copy(io.Discard, r) //nolint:errcheck // until it is closed
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return s
}

// relayTo is an owner whose proof is another's: what stands in the way of all that the two say. then has the connection after the proof.
func relayTo(t testing.TB, o *owner, then func(net.Conn, *bufio.Reader)) (named string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	named = "http://" + l.Addr().String()
	o.peer = peers(t, peer.Config{Table: holder(t, "a"), Advertise: named})
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // nothing to be done about it
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.WriteString(c, whole(proofOf(t, o, req.Header.Get(peer.ChallengeHeader)))) //nolint:errcheck // the test sees what is missing
		then(c, r)
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return o.peer.Self()
}

// proofOf has an owner answer a challenge; empty: it doesn't.
func proofOf(t testing.TB, o *owner, challenge string) string {
	req, err := http.NewRequest(http.MethodGet, o.url+peer.Door, nil)
	fatal(t, err)
	req.Header.Set(peer.ChallengeHeader, challenge)
	res, err := http.DefaultTransport.RoundTrip(req)
	fatal(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fatal(t, err)
	return string(b)
}

func whole(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// refused forwards to owner, which has to be a lost session, and returns what the log was told.
func refused(t *testing.T, cfg peer.Config, owner string) string {
	t.Helper()
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	in, w := message(), httptest.NewRecorder()
	body := &borrowed{Reader: in.Body}
	body.back.Store(true) // whoever reads it is counted
	in.Body = body
	p := peers(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the limit of a challenge is 3 s
	defer cancel()
	f := fault.As(p.Forward(ctx, owner, in, flusher{w}))
	if f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != fault.CodeSession || f.Phase != fault.Session || strings.Contains(f.Message+f.Hint, "127.0.0.1") {
		t.Errorf("%v", f)
	}
	if body.late.Load() != 0 || w.Body.Len() != 0 {
		t.Errorf("the body was read %d times, the answer is %q", body.late.Load(), w.Body)
	}
	return log.String()
}

// at is the name of an owner that was at an address.
func at(t testing.TB, address string) string {
	return peers(t, peer.Config{Table: holder(t, "a"), Advertise: address}).Self()
}

func TestAStrangerAtTheOwnersAddressGetsNothing(t *testing.T) {
	for what, answer := range map[string]func(c net.Conn, challenge string){
		"nothing":           func(c net.Conn, _ string) { c.Close() },
		"no HTTP":           func(c net.Conn, _ string) { io.WriteString(c, "220 hello\r\n") },
		"not found":         func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") },
		"an empty proof":    func(c net.Conn, _ string) { io.WriteString(c, whole("")) },
		"a made-up proof":   func(c net.Conn, _ string) { io.WriteString(c, whole("ok")) },
		"the challenge":     func(c net.Conn, challenge string) { io.WriteString(c, whole(challenge)) },
		"an interim answer": func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") },
		"a redirect": func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
		},
		"a huge length":      func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx") },
		"a huge head":        func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)) },
		"heads without end":  func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: x\r\n", 1<<16)) },
		"a body without end": func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 1<<20)) },
		"chunks": func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
		},
	} {
		s := newStranger(t, answer)
		log := refused(t, peer.Config{Table: holder(t, "a")}, at(t, s.address))
		if !strings.Contains(log, "level=WARN") || !strings.Contains(log, s.address) || !strings.Contains(log, "no proof") {
			t.Errorf("%s: the log says %q", what, log)
		}
		s.gotAChallengeOnly(t, what)
	}
}

func TestAProofIsGoodForOneChallenge(t *testing.T) {
	o := newOwner(t, "a", fine)
	var proofs []string
	s := newStranger(t, func(c net.Conn, challenge string) {
		proofs = append(proofs, proofOf(t, o, challenge))
		if len(proofs) == 1 {
			c.Close()
			return
		}
		io.WriteString(c, whole(proofs[0]))
	})
	o.peer = peers(t, peer.Config{Table: holder(t, "a"), Advertise: s.address}) // it was there
	refused(t, peer.Config{Table: holder(t, "a")}, o.peer.Self())
	log := refused(t, peer.Config{Table: holder(t, "a")}, o.peer.Self())
	s.answering.Lock()
	defer s.answering.Unlock()
	if len(proofs) != 2 || len(proofs[0]) < 100 || proofs[0] == proofs[1] || !strings.Contains(log, "another challenge") {
		t.Errorf("%q: %s", proofs, log)
	}
	if got := s.String(); strings.Contains(got, "Bearer") || strings.Contains(got, "/up/message") || strings.Contains(got, "jsonrpc") {
		t.Errorf("the stranger got %q", got)
	}
}

// gotAChallengeOnly: of all that the caller sent, nothing is among the bytes that came.
func (s *stranger) gotAChallengeOnly(t *testing.T, what string) {
	t.Helper()
	lines := strings.Split(s.String(), "\r\n")
	if len(lines) != 5 || lines[0] != "GET "+peer.Door+" HTTP/1.1" || lines[1] != "Host: "+strings.TrimPrefix(s.address, "http://") ||
		!strings.HasPrefix(lines[2], peer.ChallengeHeader+": A") || len(lines[2]) > 300 || lines[3]+lines[4] != "" {
		t.Errorf("%s: the stranger got %q", what, s)
	}
}
