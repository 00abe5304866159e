package peer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// holder has the ring of a fleet; fleets differ by their secrets.
func holder(t testing.TB, secret string) *table.Holder {
	t.Helper()
	body, err := proto.Marshal(&configv1.SealingRing{Name: "session", Keys: []*configv1.SealingKey{{Id: 1, Secret: []byte(strings.Repeat(secret, 32)), Sealing: true, CreateTime: timestamppb.Now()}}})
	fatal(t, err)
	tb, _ := table.New(table.Config{}).Apply(confset.Delta{Upserts: []confset.Object{{Key: confset.Key{Kind: "sealingring", Name: "session"}, UID: "u", Hash: confset.HashBody(body), Body: body}}}, 1, table.Version{Revision: 1})
	h := new(table.Holder)
	h.Store(tb)
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
	return &request.Inbound{Method: "POST", Path: "/up/message", Query: "session=x", Host: "gw.example.com", Remote: "203.0.113.7:4711", Proto: "HTTP/2.0", Secure: true,
		Names: []string{"client.example.com", "spiffe://example.com/c"}, Body: strings.NewReader(body), Length: int64(len(body)),
		Header: http.Header{"Authorization": {"Bearer k"}, "X-Forwarded-For": {"198.51.100.1", "192.0.2.1"}, "Content-Type": {"application/json"}, "Connection": {"keep-alive, X-Forwarded-For"}}}
}

// owner is a data plane that notes how a request arrived and answers.
type owner struct {
	url  string
	peer *peer.Peers
	last *request.Inbound // as the front saw it
	as   *request.Inbound // as it is to be seen
	body string
	err  error
}

func newOwner(t testing.TB, secret string, answer http.HandlerFunc) *owner {
	o := &owner{peer: peers(t, peer.Config{Table: holder(t, secret)})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.last = &request.Inbound{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr, Proto: r.Proto, Header: r.Header.Clone(), Length: r.ContentLength}
		b, _ := io.ReadAll(r.Body)
		o.body = string(b)
		o.as, _, o.err = o.peer.Arrived(o.last)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	o.url = s.URL
	return o
}

func fine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Told", "yes")
	w.WriteHeader(http.StatusAccepted)
}

func TestTheOwnerSeesTheRequestAsItCame(t *testing.T) {
	o := newOwner(t, "a", fine)
	in, w := message(), httptest.NewRecorder()
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.url, in, flusher{w}))
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
	for _, name := range []string{"Authorization", "X-Forwarded-For", "Content-Type"} {
		if strings.Join(as.Header[name], "|") != strings.Join(in.Header[name], "|") {
			t.Errorf("%s: %q", name, as.Header[name])
		}
	}
	if len(as.Header[peer.Header]) != 0 || len(o.last.Header["User-Agent"]) != 0 {
		t.Errorf("%v", as.Header)
	}
}

func TestNotesHoldForOneRequestAndNotForLong(t *testing.T) {
	o := newOwner(t, "a", fine)
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.url, message(), flusher{httptest.NewRecorder()}))
	at := func(d time.Duration) *peer.Peers {
		return peers(t, peer.Config{Table: holder(t, "a"), Now: func() time.Time { return time.Now().Add(d) }})
	}
	other := *o.last
	other.Query = "session=y"
	get := *o.last
	get.Method = "GET"
	twice := *o.last
	twice.Header = o.last.Header.Clone()
	twice.Header[peer.Header] = append(twice.Header[peer.Header], "x")
	for what, c := range map[string]struct {
		p  *peer.Peers
		in *request.Inbound
		ok bool
	}{
		"as it was": {at(0), o.last, true}, "late": {at(25 * time.Second), o.last, true}, "too late": {at(31 * time.Second), o.last, false},
		"before its time": {at(-time.Minute), o.last, false}, "another session": {at(0), &other, false}, "another method": {at(0), &get, false},
		"two notes": {at(0), &twice, false}, "another fleet": {peers(t, peer.Config{Table: holder(t, "b")}), o.last, false},
	} {
		_, forwarded, err := c.p.Arrived(c.in)
		if f := fault.As(err); (err == nil) != c.ok || forwarded != c.ok || f != nil && f.HTTPStatus() != 403 {
			t.Errorf("%s: %v %v", what, forwarded, err)
		}
	}
}

func TestWhatWasForwardedIsNotForwardedAgain(t *testing.T) {
	o := newOwner(t, "a", fine)
	in := message()
	in.Header[peer.Header] = []string{"x"}
	err := peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.url, in, flusher{httptest.NewRecorder()})
	if f := fault.As(err); f == nil || f.HTTPStatus() != 404 || o.last != nil {
		t.Errorf("%v", err)
	}
}

func TestAnOwnerThatCantBeReachedIsALostSession(t *testing.T) {
	p := peers(t, peer.Config{Table: holder(t, "a")})
	for _, url := range []string{"http://127.0.0.1:1", ""} {
		f := fault.As(p.Forward(context.Background(), url, message(), flusher{httptest.NewRecorder()}))
		if f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != fault.CodeSession || strings.Contains(f.Message+f.Hint, "127.0.0.1") {
			t.Errorf("%q: %v", url, f)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	o := newOwner(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	f := fault.As(peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.url, message(), flusher{httptest.NewRecorder()}))
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
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.url, message(), s))
	if !s.aborted {
		t.Error("half an answer was passed for a whole one")
	}
}

func TestNamesOpenForTheirCallerOnly(t *testing.T) {
	p := peers(t, peer.Config{Table: holder(t, "a"), Advertise: "http://10.0.0.5:4000"})
	token, err := p.Name("key-1", "server/up", "id-1")
	fatal(t, err)
	owner, id, err := p.Find(token, "key-1", "server/up")
	if err != nil || owner != "http://10.0.0.5:4000" || id != "id-1" || !p.Mine(owner) || p.Mine("http://10.0.0.6:4000") || !p.Mine("") {
		t.Errorf("%q %q %v", owner, id, err)
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
