package reply_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// sink remembers what was written.
type sink struct {
	header  http.Header
	status  int
	aborted bool

	mu      sync.Mutex // tests look while a timer may write
	body    strings.Builder
	flushed int
	fails   error
}

func (s *sink) Header() http.Header    { return s.header }
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) Abort()                 { s.aborted = true }

func (s *sink) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = s.body.Len()
	return s.fails
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return 0, s.fails
	}
	return s.body.Write(p)
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *sink) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body.Reset()
}

// sent returns what was written and how much of it was flushed.
func (s *sink) sent() (body string, flushed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.String(), s.flushed
}

func begin() (*reply.Reply, *sink, *telemetry.Record) {
	s, rec := &sink{header: http.Header{}}, &telemetry.Record{}
	rec.IDs.Trace = [16]byte{0xab, 15: 0xcd}
	return &reply.Reply{Sink: s, Record: rec, Region: "eu"}, s, rec
}

var refused = &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused, Server: "up", Message: "It failed.", Err: errors.New("secret cause")}

func TestWholeAnswers(t *testing.T) {
	for _, c := range []struct {
		name, body, length string
		status             int
		kind               []string
	}{
		{"JSON", `{"a":1}`, "7", 200, reply.JSON()},
		{"accepted", "", "", 202, nil},
		{"no content", "", "", 204, nil},
		{"nothing to say", "", "0", 405, nil},
		{"large", strings.Repeat("x", 123456), "123456", 200, reply.JSON()},
	} {
		r, s, rec := begin()
		r.Whole(c.status, c.kind, []byte(c.body))
		if s.status != c.status || s.body.String() != c.body || s.header.Get("Content-Length") != c.length || s.header.Get("Content-Type") != strings.Join(c.kind, "") {
			t.Errorf("%s: %d %v", c.name, s.status, s.header)
		}
		if s.header.Get("X-Hopgate-Trace-Id") != "ab0000000000000000000000000000cd" || rec.Status != c.status || rec.BytesOut != int64(len(c.body)) || !r.Started() {
			t.Errorf("%s: %v %+v", c.name, s.header, rec)
		}
	}
}

func TestFaultsBeforeTheHead(t *testing.T) {
	r, s, rec := begin()
	s.header["Mcp-Session-Id"] = []string{"given too early"}
	r.Fault(refused, []byte(`"a"`))
	if s.status != 502 || rec.Status != 502 || s.header.Get("X-Hopgate-Error") != refused.Header() || s.header.Get("Cache-Control") != "no-store" || s.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("%d %v", s.status, s.header)
	}
	if body := s.body.String(); !strings.HasPrefix(body, `{"jsonrpc":"2.0","id":"a","error":{"code":-32000,"message":"It failed."`) || !strings.Contains(body, `"trace_id":"ab00`) || strings.Contains(body, "secret") {
		t.Error(body)
	}
	r, s, _ = begin()
	r.Fault(&fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated}, nil)
	if s.status != 401 || s.header.Get("Www-Authenticate") != `Bearer realm="hopgate"` || !strings.Contains(s.body.String(), `"id":null`) {
		t.Errorf("%d %v %s", s.status, s.header, s.body.String())
	}
}

func TestFaultsBehindTheHead(t *testing.T) {
	r, s, _ := begin()
	if err := r.Stream(); err != nil {
		t.Fatal(err)
	}
	r.Fault(refused, []byte("7"))
	if got := s.body.String(); !strings.HasPrefix(got, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,") || !strings.HasSuffix(got, "\n\n") || s.flushed != len(got) || s.aborted {
		t.Errorf("event stream: %q, flushed %d", got, s.flushed)
	}
	if s.header.Get(http.TrailerPrefix+"X-Hopgate-Error") != refused.Header() {
		t.Errorf("trailer: %v", s.header)
	}
	r.Close()

	r, s, _ = begin()
	r.Stream() //nolint:errcheck // the sink doesn't fail
	r.Fault(refused, nil)
	if !s.aborted || s.body.Len() > 0 {
		t.Errorf("a stream nobody asked for with an id: %q", s.body.String())
	}

	r, s, _ = begin()
	r.Begin(200, reply.JSON(), 100)
	r.Piece([]byte(`{"half`)) //nolint:errcheck // the sink doesn't fail
	r.Fault(refused, []byte("7"))
	if !s.aborted || s.body.String() != `{"half` {
		t.Errorf("JSON: %q", s.body.String())
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	r, s, rec := begin()
	r.Stream() //nolint:errcheck // the sink doesn't fail
	defer r.Close()
	for k, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", "Content-Length": ""} {
		if got := s.header.Get(k); got != want {
			t.Errorf("%s: %q", k, got)
		}
	}
	for _, e := range []string{"data: 1\n\n", ": comment\n\n"} {
		if err := r.Event([]byte(e)); err != nil || s.flushed != s.body.Len() {
			t.Errorf("%q: %v, flushed %d of %d", e, err, s.flushed, s.body.Len())
		}
	}
	if rec.Events != 2 || rec.BytesOut != 20 || !rec.Streamed {
		t.Errorf("%+v", rec)
	}
	s.fails = errors.New("gone")
	if err := r.Event([]byte("data: 2\n\n")); err == nil || rec.Events != 2 {
		t.Errorf("%v, %d events", err, rec.Events)
	}
}

func TestQuietStreamsBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := begin()
		r.KeepAlive = 15 * time.Second
		r.Stream() //nolint:errcheck // the sink doesn't fail
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d) // fake time
			synctest.Wait()
			if got, flushed := s.sent(); got != want || flushed != len(got) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		const beat = ": keep-alive\n"
		after(14*time.Second, "")
		after(time.Second, beat)
		r.Event([]byte("data: 1\n\n")) //nolint:errcheck // the sink doesn't fail
		after(14*time.Second, beat+"data: 1\n\n")
		after(2*time.Second, beat+"data: 1\n\n"+beat)
		after(15*time.Second, beat+"data: 1\n\n"+beat+beat)
		r.Close()
		after(time.Hour, beat+"data: 1\n\n"+beat+beat)
	})
}

// Comments of streams of one pace leave together, none later than agreed: each that leaves alone wakes the process.
func TestCommentsOfManyStreamsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, every = 150, 15 * time.Second
		var sinks []*sink
		for range streams {
			r, s, _ := begin()
			r.KeepAlive = every
			r.Stream() //nolint:errcheck // the sink doesn't fail
			defer r.Close()
			sinks = append(sinks, s)
			time.Sleep(every / streams) // fake time
		}
		began, instants, beats := time.Now(), map[time.Time]bool{}, 0
		for time.Since(began) < every {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for _, s := range sinks {
				if body, _ := s.sent(); body != "" {
					s.clear()
					instants[time.Now()] = true
					beats++
				}
			}
		}
		if beats < streams || len(instants) > 20 {
			t.Errorf("%d comments at %d instants; want at least %d at about 16", beats, len(instants), streams)
		}
	})
}

func TestABrokenStreamStopsBeating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := begin()
		r.KeepAlive = time.Second
		r.Stream() //nolint:errcheck // the sink doesn't fail
		s.fail(errors.New("gone"))
		time.Sleep(time.Minute) // fake time
		synctest.Wait()
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, _ := s.sent(); got != "" {
			t.Errorf("%q", got)
		}
		r.Close()
	})
}

func TestDiagnosticsByWhatIsKnown(t *testing.T) {
	server := &table.Server{Name: "up", AuthType: "none", Transport: "streamable_http", Target: &table.Target{Masked: "http://h/mcp"}}
	for _, c := range []struct {
		name      string
		debug     bool
		principal *table.Principal
		server    *table.Server
		fault     *fault.Error
		want      []string
	}{
		{"not asked", false, &table.Principal{Debug: true}, server, nil, nil},
		{"not admitted", true, nil, nil, nil, []string{"Inbound-Auth"}},
		{"not routed", true, &table.Principal{}, nil, nil, []string{"Inbound-Auth", "Hops"}},
		{"routed", true, &table.Principal{}, server, nil, []string{"Inbound-Auth", "Hops", "Oauth2-Token", "Auth-Resolution", "Server-Auth-Type", "Outbound-Url"}},
		{"with the role", true, &table.Principal{Debug: true}, server, nil, []string{"Inbound-Auth", "Hops", "Oauth2-Token", "Auth-Resolution", "Server-Auth-Type", "Outbound-Url", "Route"}},
		{"no endpoint here", true, &table.Principal{}, &table.Server{Name: "up"}, refused, []string{"Inbound-Auth", "Hops", "Oauth2-Token", "Auth-Resolution", "Server-Auth-Type"}},
	} {
		r, s, rec := begin()
		rec.Debug, rec.Fault, r.InboundAuth, r.Principal, r.Server = c.debug, c.fault, "(none)", c.principal, c.server
		r.Whole(200, reply.JSON(), nil)
		got := 0
		for k := range s.header {
			if strings.HasPrefix(k, "X-Mcp-Debug-") {
				got++
			}
		}
		for _, k := range c.want {
			if _, ok := s.header["X-Mcp-Debug-"+k]; !ok {
				t.Errorf("%s: no %s", c.name, k)
			}
		}
		if got != len(c.want) {
			t.Errorf("%s: %d headers, want %d: %v", c.name, got, len(c.want), s.header)
		}
	}
}
