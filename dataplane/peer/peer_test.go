package peer_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// holder has the ring of a fleet with one key; fleets differ by their secrets.
func holder(t testing.TB, secret string) *table.Holder { return ringOf(t, secret) }

// ringOf seals with the first key and opens with all.
func ringOf(t testing.TB, letters string) *table.Holder {
	t.Helper()
	h := new(table.Holder)
	h.Store(peer.WithRing(t, letters))
	return h
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func peers(t testing.TB, cfg peer.Config) *peer.Peers {
	t.Helper()
	p, err := peer.New(cfg)
	fatal(t, err)
	t.Cleanup(p.Close)
	return p
}

// message is a request as a front made it.
func message() *request.Inbound {
	const body = `{"jsonrpc":"2.0"}`
	return &request.Inbound{Method: "POST", Path: "/up/message", Query: "session=x", Host: "gw.example.com", Remote: "203.0.113.7:4711",
		Proto: "HTTP/2.0", Secure: true, Names: []string{"client.example.com", "spiffe://example.com/c"}, Body: strings.NewReader(body), Length: int64(len(body)),
		Header: http.Header{"Authorization": {"Bearer k"}, "X-Forwarded-For": {"198.51.100.1", "192.0.2.1"}, "Content-Type": {"application/json"},
			"Cookie": {"a=1", "b=2"}, "X-Mcp-Up-Authorization": {"Bearer u"}, "Content-Length": {"999"}, "Connection": {"keep-alive, X-Forwarded-For"}}}
}

func fine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Told", "yes")
	w.WriteHeader(http.StatusAccepted)
}

func TestTheOwnerSeesTheRequestAsItCame(t *testing.T) {
	o := newOwner(t, "a", fine)
	in, w := message(), httptest.NewRecorder()
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.peer.Self(), in, flusher{w}))
	fatal(t, o.err)
	if w.Code != 202 || w.Header().Get("X-Told") != "yes" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	as := o.as
	if as.Remote != in.Remote || as.Host != in.Host || as.Proto != in.Proto || !as.Secure || strings.Join(as.Names, " ") != strings.Join(in.Names, " ") {
		t.Errorf("%+v", as)
	}
	if o.body != `{"jsonrpc":"2.0"}` || as.Path != in.Path || as.Query != in.Query {
		t.Errorf("%q %+v", o.body, as)
	}
	for _, name := range []string{"Authorization", "X-Forwarded-For", "Content-Type", "Cookie", "X-Mcp-Up-Authorization"} {
		if strings.Join(as.Header[name], "|") != strings.Join(in.Header[name], "|") {
			t.Errorf("%s: %q", name, as.Header[name])
		}
	}
	if len(as.Header[peer.Header]) != 0 || len(as.Header["Connection"]) != 0 || as.Header.Get("Content-Length") != "17" {
		t.Errorf("%v", as.Header)
	}
	for name, values := range o.last.Header { // as anybody on the way sees it
		if name != peer.Header && name != "Content-Length" {
			t.Errorf("in the clear: %s: %q", name, values)
		}
	}
}

func TestWhatWasForwardedIsNotForwardedAgain(t *testing.T) {
	o := newOwner(t, "a", fine)
	in := message()
	in.Header[peer.Header] = []string{"x"}
	err := peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.peer.Self(), in, flusher{httptest.NewRecorder()})
	if f := fault.As(err); f == nil || f.HTTPStatus() != 404 || o.last != nil {
		t.Errorf("%v", err)
	}
}

func TestAnOwnerThatCantBeReachedIsALostSession(t *testing.T) {
	p := peers(t, peer.Config{Table: holder(t, "a")})
	gone := peers(t, peer.Config{Table: holder(t, "a"), Advertise: "http://127.0.0.1:1"})
	for _, owner := range []string{gone.Self(), ""} {
		f := fault.As(p.Forward(context.Background(), owner, message(), flusher{httptest.NewRecorder()}))
		if f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != fault.CodeSession || strings.Contains(f.Message+f.Hint, "127.0.0.1") {
			t.Errorf("%q: %v", owner, f)
		}
	}
}

// Red when each request whose session is lost makes a line.
func TestTheLogIsToldOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	p := peers(t, peer.Config{Table: holder(t, "a"), Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now }})
	gone := peers(t, peer.Config{Table: holder(t, "a"), Advertise: "http://127.0.0.1:1"}).Self()
	for _, lines := range []int{1, 1, 2} {
		p.Forward(context.Background(), gone, message(), flusher{httptest.NewRecorder()}) //nolint:errcheck // what the log says is wanted
		if got := log.String(); strings.Count(got, "\n") != lines || !strings.Contains(got, "address=http://127.0.0.1:1 error=") {
			t.Errorf("%d lines wanted: %s", lines, got)
		}
		now = now.Add(40 * time.Second)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	o := newOwner(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	f := fault.As(peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.peer.Self(), message(), flusher{httptest.NewRecorder()}))
	if f == nil || f.HTTPStatus() != 502 {
		t.Errorf("%v", f)
	}
}

func TestAnAnswerThatBreaksIsBrokenOff(t *testing.T) {
	o := newOwner(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "half")             //nolint:errcheck // a test
		http.NewResponseController(w).Flush() //nolint:errcheck // a test
		panic(http.ErrAbortHandler)
	})
	s := &aborts{flusher: flusher{httptest.NewRecorder()}}
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.peer.Self(), message(), s))
	if !s.aborted {
		t.Error("half an answer was passed for a whole one")
	}
}

func TestNamesOpenForTheirCallerOnly(t *testing.T) {
	p := peers(t, peer.Config{Table: holder(t, "a"), Advertise: "http://10.0.0.5:4000"})
	token, err := p.Name("key-1", "server/up", "id-1")
	fatal(t, err)
	owner, id, err := p.Find(token, "key-1", "server/up")
	if err != nil || owner != p.Self() || id != "id-1" || !p.Mine(owner) || p.Mine("http://10.0.0.5:4000") || !p.Mine("") {
		t.Errorf("%q %q %v", owner, id, err)
	}
	if other := peers(t, peer.Config{Table: holder(t, "a"), Advertise: "http://10.0.0.5:4000"}); other.Mine(owner) {
		t.Error("a new process at the address takes itself for the one before")
	}
	late := peers(t, peer.Config{Table: holder(t, "a"), Now: func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }})
	for what, err := range map[string]error{"another caller": find(p, token, "key-2", "server/up"), "another endpoint": find(p, token, "key-1", "server/other"),
		"nothing": find(p, "", "key-1", "server/up"), "later": find(late, token, "key-1", "server/up")} {
		if f := fault.As(err); f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != fault.CodeSession {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, forwarded, err := p.Arrived(&request.Inbound{Header: http.Header{peer.Header: {token}}}); err == nil || forwarded {
		t.Error("a name passes for a note")
	}
	empty := new(table.Holder)
	empty.Store(table.New(table.Config{}))
	if _, err := peers(t, peer.Config{Table: empty}).Name("a", "b", "c"); fault.As(err) == nil || fault.As(err).HTTPStatus() != 503 {
		t.Errorf("without a ring: %v", err)
	}
}

func find(p *peer.Peers, token, principal, endpoint string) error {
	_, _, err := p.Find(token, principal, endpoint)
	return err
}

func TestAdvertisedAddressesAreOrigins(t *testing.T) {
	for address, ok := range map[string]bool{"": true, "http://10.0.0.5:4000": true, "https://[::1]:4000": true, "10.0.0.5:4000": false, "http://10.0.0.5/": false,
		"http://u@h": false, "ftp://h": false, "http://": false, "http://h?x": false} {
		if _, err := peer.New(peer.Config{Table: holder(t, "a"), Advertise: address}); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// flusher is a recorder as a sink.
type flusher struct{ *httptest.ResponseRecorder }

func (flusher) Flush() error { return nil }
func (flusher) Abort()       {}

type aborts struct {
	flusher
	aborted bool
}

func (a *aborts) Abort() { a.aborted = true }
