package peer_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/proto/fault"
)

// reaches forwards one request, which the owner has to serve.
func reaches(t *testing.T, p *peer.Peers, o *owner) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Forward(context.Background(), o.peer.Self(), message(), flusher{w}); err != nil || w.Code != 202 || o.err != nil {
		t.Errorf("%v, %d, %v", err, w.Code, o.err)
	}
}

func TestAConnectionIsProvedOnce(t *testing.T) {
	o, p := newOwner(t, "a", fine), peers(t, peer.Config{Table: holder(t, "a")})
	for range 5 {
		reaches(t, p, o)
	}
	if o.challenges.Load() != 1 || o.conns.Load() != 1 {
		t.Errorf("%d challenges on %d connections", o.challenges.Load(), o.conns.Load())
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			w := httptest.NewRecorder()
			if err := p.Forward(context.Background(), o.peer.Self(), message(), flusher{w}); err != nil || w.Code != 202 {
				t.Errorf("%v, %d", err, w.Code)
			}
		})
	}
	all.Wait()
	if challenges, conns := o.challenges.Load(), o.conns.Load(); challenges > conns { // one may be dialled that nobody waits for any more
		t.Errorf("%d challenges on %d connections", challenges, conns)
	}
}

func TestAnotherDataPlaneOfTheFleetIsNotTheOwner(t *testing.T) {
	before := newOwner(t, "a", fine)
	owner := before.peer.Self()
	p := peers(t, peer.Config{Table: holder(t, "a")})
	reaches(t, p, before)
	before.close()
	after := ownerAt(t, strings.TrimPrefix(before.url, "http://"), peer.Config{Table: holder(t, "a")}, nil, fine)
	if log := refused(t, peer.Config{Table: holder(t, "a")}, owner); !strings.Contains(log, after.url) || !strings.Contains(log, "status 404") {
		t.Errorf("the log says %q", log)
	}
	if err := p.Forward(context.Background(), owner, message(), flusher{httptest.NewRecorder()}); fault.As(err) == nil || fault.As(err).HTTPStatus() != 404 {
		t.Errorf("over what the process before had proved: %v", err)
	}
	if after.last != nil || after.challenges.Load() != 2 {
		t.Errorf("%d challenges, %+v", after.challenges.Load(), after.last)
	}
	reaches(t, p, after)
	if err := p.Forward(context.Background(), owner, message(), flusher{httptest.NewRecorder()}); fault.As(err) == nil || after.conns.Load() != 4 {
		t.Errorf("over what the process after had proved: %v, %d connections", err, after.conns.Load())
	}
	if log := refused(t, peer.Config{Table: holder(t, "a"), Advertise: before.url}, owner); log != "" || after.conns.Load() != 4 {
		t.Errorf("the new process asked itself: %s", log)
	}
}

func TestRingsThatDiffer(t *testing.T) {
	for what, c := range map[string]struct {
		from, to string
		ok       bool
	}{
		"first phase, there": {"a", "ab", true}, "first phase, here": {"ab", "a", true}, "second phase, there": {"ab", "ba", true},
		"second phase, here": {"ba", "ab", true}, "the old key is gone here": {"b", "ba", true}, "the old key is gone there": {"ba", "b", true},
		"it seals with a key that isn't there": {"ba", "a", false}, "nothing in common": {"a", "b", false},
	} {
		o := ownerAt(t, "127.0.0.1:0", peer.Config{Table: ringOf(t, c.to)}, nil, fine)
		if !c.ok {
			refused(t, peer.Config{Table: ringOf(t, c.from)}, o.peer.Self())
			if o.last != nil {
				t.Errorf("%s: %+v", what, o.last)
			}
			continue
		}
		reaches(t, peers(t, peer.Config{Table: ringOf(t, c.from)}), o)
	}
}

func TestARotationGoesOnOverProvedConnections(t *testing.T) {
	here, there := ringOf(t, "a"), ringOf(t, "a")
	o := ownerAt(t, "127.0.0.1:0", peer.Config{Table: there}, nil, fine)
	p := peers(t, peer.Config{Table: here})
	for _, step := range []string{"a", "ab", "ba", "b"} {
		there.Store(peer.WithRing(t, step))
		reaches(t, p, o)
		here.Store(peer.WithRing(t, step))
		reaches(t, p, o)
	}
	if o.challenges.Load() != 1 {
		t.Errorf("%d challenges", o.challenges.Load())
	}
}

func TestOwnersWithTLS(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	cert := s.TLS.Certificates[0]
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	o := ownerAt(t, "127.0.0.1:0", peer.Config{Table: holder(t, "a")}, secure, fine)
	p := peers(t, peer.Config{Table: holder(t, "a"), TLS: &tls.Config{RootCAs: roots}})
	reaches(t, p, o)
	reaches(t, p, o)
	if o.challenges.Load() != 1 || o.last.Proto != "HTTP/1.1" {
		t.Errorf("%d challenges, %s", o.challenges.Load(), o.last.Proto)
	}
	o.last = nil
	if log := refused(t, peer.Config{Table: holder(t, "a")}, o.peer.Self()); !strings.Contains(log, "certificate") || o.challenges.Load() != 1 {
		t.Errorf("without its authority: %s", log)
	}
	if log := refused(t, peer.Config{Table: holder(t, "b"), TLS: &tls.Config{RootCAs: roots}}, o.peer.Self()); !strings.Contains(log, "no proof") || o.last != nil {
		t.Errorf("another fleet: %s", log)
	}
}

func TestStrangersLearnNothingAtTheDoor(t *testing.T) {
	h := holder(t, "a")
	o := newOwner(t, "a", fine)
	name, err := o.peer.Name("k", "e", "id")
	fatal(t, err)
	process := strings.TrimPrefix(o.peer.Self(), o.url+" ")
	good := seal.Token{Purpose: seal.Challenge, Principal: process, Endpoint: o.url, Payload: make([]byte, 32),
		Issued: time.Now(), Expires: time.Now().Add(30 * time.Second)}
	made := func(secret string, change func(*seal.Token)) string {
		token := good
		change(&token)
		s, err := seal.Seal(holder(t, secret).Load().Ring("session"), token)
		fatal(t, err)
		return s
	}
	proof := proofOf(t, o, made("a", func(*seal.Token) {}))
	if _, err := seal.Open(h.Load().Ring("session"), seal.Proof, proof, process, o.url, time.Now()); err != nil {
		t.Fatalf("%q: %v", proof, err)
	}
	for what, challenge := range map[string]string{
		"nothing": "", "no token": "AAAA", "a name": name, "a proof": proof, "another fleet's": made("b", func(*seal.Token) {}),
		"a note":              made("a", func(t *seal.Token) { t.Purpose = seal.Note }),
		"for another":         made("a", func(t *seal.Token) { t.Principal = strings.Repeat("A", 26) }),
		"elsewhere":           made("a", func(t *seal.Token) { t.Endpoint = "http://127.0.0.1:1" }),
		"a short nonce":       made("a", func(t *seal.Token) { t.Payload = t.Payload[1:] }),
		"over":                made("a", func(t *seal.Token) { t.Issued, t.Expires = t.Issued.Add(-time.Minute), t.Issued.Add(-time.Second) }),
		"not yet":             made("a", func(t *seal.Token) { t.Issued, t.Expires = t.Issued.Add(9*time.Second), t.Expires.Add(9*time.Second) }),
		"for too long":        made("a", func(t *seal.Token) { t.Expires = t.Expires.Add(time.Hour) }),
		"longer than allowed": strings.Repeat("A", 10<<10),
	} {
		if got := proofOf(t, o, challenge); got != "" {
			t.Errorf("%s: %q", what, got)
		}
	}
	in := &request.Inbound{Method: http.MethodPost, Header: http.Header{peer.ChallengeHeader: {made("a", func(*seal.Token) {})}}}
	if o.peer.Prove(in, flusher{httptest.NewRecorder()}) {
		t.Error("POST")
	}
	in.Method, in.Header[peer.Header] = http.MethodGet, []string{proof}
	if _, _, err := o.peer.Arrived(in); fault.As(err) == nil || fault.As(err).HTTPStatus() != 403 {
		t.Errorf("a proof as a note: %v", err)
	}
}

func TestTheCallerWhoLeavesEndsTheChallenge(t *testing.T) {
	ctx, leave := context.WithCancel(context.Background())
	s := newStranger(t, func(net.Conn, string) { leave() })
	err := peers(t, peer.Config{Table: holder(t, "a")}).Forward(ctx, at(t, s.address), message(), flusher{httptest.NewRecorder()})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
