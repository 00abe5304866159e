package peer_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
)

// owner is a data plane that notes how a request arrived and answers.
type owner struct {
	url        string
	close      func()
	peer       *peer.Peers
	challenges atomic.Int32
	conns      atomic.Int32
	unread     bool // the test looks at what arrived
	noting     sync.Mutex
	last       *request.Inbound // as the front saw it
	as         *request.Inbound // as it is to be seen
	body       string
	err        error
}

func newOwner(t testing.TB, secret string, answer http.HandlerFunc) *owner {
	return ownerAt(t, "127.0.0.1:0", peer.Config{Table: holder(t, secret)}, nil, answer)
}

// ownerAt is an owner on a socket of its own, with TLS or without.
func ownerAt(t testing.TB, address string, cfg peer.Config, secure *tls.Config, answer http.HandlerFunc) *owner {
	t.Helper()
	l, err := net.Listen("tcp", address)
	fatal(t, err)
	o := &owner{url: "http://" + l.Addr().String()}
	if secure != nil {
		o.url = "https://" + l.Addr().String()
	}
	cfg.Advertise = o.url
	o.peer = peers(t, cfg)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.serve(w, r, answer) }))
	s.Listener.Close()
	s.Listener, s.TLS = l, secure
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.Config.MaxHeaderBytes = 32 << 10
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.conns.Add(1)
		}
	}
	if secure != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	o.close = s.Close
	t.Cleanup(s.Close)
	return o
}

func (o *owner) serve(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
	in := &request.Inbound{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr, Proto: r.Proto,
		Header: r.Header.Clone(), Length: r.ContentLength}
	if in.Path == peer.Door {
		o.challenges.Add(1)
		if !o.peer.Prove(in, answering{w}) {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	o.noting.Lock()
	o.last = in
	b, _ := io.ReadAll(r.Body)
	o.body = string(b)
	if !o.unread {
		o.as, _, o.err = o.peer.Arrived(o.last)
	}
	o.noting.Unlock()
	answer(w, r)
}

// answering is a response as a sink.
type answering struct{ http.ResponseWriter }

func (answering) Flush() error { return nil }
func (answering) Abort()       {}
