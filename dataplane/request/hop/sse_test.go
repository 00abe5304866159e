package hop_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// streaming is a server of transport sse with one session at a time. It answers everything, and keeps what it was sent.
type streaming struct {
	mu   sync.Mutex
	seen []string // method and what matters of the head; guarded by mu
	out  chan string
	left chan struct{} // a stream was closed
}

func startStreaming(t testing.TB) (up *streaming, url string) {
	t.Helper()
	up = &streaming{out: make(chan string, 16), left: make(chan struct{}, 16)}
	h := httptest.NewServer(up)
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return up, h.URL + "/sse"
}

func (up *streaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := mcptest.Read(r)
	up.mu.Lock()
	up.seen = append(up.seen, fmt.Sprintf("%s %s %q %s %s", r.Method, r.URL.Path, m.Method, r.Header.Get("Authorization"), r.Header.Get("Mcp-Session-Id")))
	up.mu.Unlock()
	if r.Method == http.MethodPost {
		switch {
		case m.Method == "initialize":
			up.out <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}`, m.ID)
		case len(m.ID) > 0:
			up.out <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "event: endpoint\ndata: /messages\n\n")
	for {
		w.(http.Flusher).Flush()
		select {
		case data := <-up.out:
			fmt.Fprintf(w, "event: message\ndata: %s\n\n", data)
		case <-r.Context().Done():
			up.left <- struct{}{}
			return
		}
	}
}

func overStream(t testing.TB, url string) *table.Server {
	t.Helper()
	s := *instances(t, table.Resilience{}, url)
	s.Transport, s.Protocol = "sse", "legacy"
	return &s
}

func TestABareCallIsMadeOverAStreamOfItsOwn(t *testing.T) {
	up, url := startStreaming(t)
	h := newHop(t)
	defer h.Close()
	c := callOf(overStream(t, url))
	c.Credential = []credential.Field{{Name: "Authorization", Value: "Bearer x"}}
	rec := &telemetry.Record{}
	ctx := context.Background()
	if err := h.OneShot(ctx, c, rec, time.Now()); err != nil || !rec.OneShot || c.Session == "" || c.Revision != "2024-11-05" {
		t.Fatalf("%v %+v", err, c)
	}
	a, err := h.Send(ctx, c, rec)
	if err != nil {
		t.Fatal(err)
	}
	body, err := a.ReadAll(nil, 0)
	if err != nil || string(body) != `{"jsonrpc":"2.0","id":1,"result":{}}` || a.Length() != int64(len(body)) {
		t.Fatalf("%s %v", body, err)
	}
	a.Close()
	h.Goodbye(ctx, c)
	select {
	case <-up.left:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream is still open")
	}
	u := rec.Upstream
	if u.Start.IsZero() || u.Sent.Before(u.Start) || u.Headers.Before(u.Sent) || u.End.Before(u.First) || u.Reused || u.Remote == "" || rec.Transport != "sse" ||
		rec.Attempts != 1 || rec.UpstreamStatus != 200 {
		t.Errorf("%+v %+v", u, rec)
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	want := []string{`GET /sse "" Bearer x `,
		`POST /messages "initialize" Bearer x `, `POST /messages "notifications/initialized" Bearer x `, `POST /messages "tools/call" Bearer x `}
	if strings.Join(up.seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", up.seen)
	}
}

func TestStreamsThatCantBeOpenedOpenTheBreaker(t *testing.T) {
	h := newHop(t)
	defer h.Close()
	s := overStream(t, mcptest.RefusedURL(t))
	s.Resilience = breaker
	send := func() error {
		c := callOf(s)
		return h.OneShot(context.Background(), c, &telemetry.Record{}, time.Now())
	}
	if !opens(t, h, send) {
		t.Error("the breaker stayed closed")
	}
}

func TestCallsOverStreamsCountUntilTheyAreClosed(t *testing.T) {
	_, url := startStreaming(t)
	h := newHop(t)
	defer h.Close()
	s := overStream(t, url)
	s.Resilience.MaxInFlight = 1
	c := callOf(s)
	ctx := context.Background()
	if err := h.OneShot(ctx, c, &telemetry.Record{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	a, err := h.Send(ctx, c, &telemetry.Record{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Send(ctx, c, &telemetry.Record{}); kindOf(t, err) != fault.Exhausted {
		t.Fatal(err)
	}
	stream := *c
	stream.Method, stream.Body, stream.Stream = http.MethodGet, nil, true
	g, err := h.Send(ctx, &stream, &telemetry.Record{})
	if err != nil {
		t.Fatal("a stream is no call", err)
	}
	g.Close()
	a.Close()
	a.Close()
	if a, err = h.Send(ctx, c, &telemetry.Record{}); err != nil {
		t.Fatal(err)
	}
	a.Close()
}

func TestOnlyOurOwnIDsTellAnOwner(t *testing.T) {
	_, url := startStreaming(t)
	h := newHop(t)
	defer h.Close()
	mine := "http://10.0.0.5:4000"
	h.Advertise(func() string { return mine })
	s := overStream(t, url)
	c := callOf(s)
	if err := h.OneShot(context.Background(), c, &telemetry.Record{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if owner, elsewhere := h.OwnerOf(s, c.Session); owner != mine || elsewhere {
		t.Error(owner, elsewhere)
	}
	mine = "http://10.0.0.6:4000"
	if owner, elsewhere := h.OwnerOf(s, c.Session); owner != "http://10.0.0.5:4000" || !elsewhere {
		t.Error(owner, elsewhere)
	}
	other := *s
	other.Transport = "streamable_http"
	if owner, elsewhere := h.OwnerOf(&other, c.Session); owner != "" || elsewhere {
		t.Error(owner, elsewhere)
	}
	forged := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Mcp-Session-Id", sse.Prefix+"aHR0cDovL2V2aWw.x")
		mcptest.Result(w, mcptest.Read(r), `{}`)
	}))
	a, err := h.Send(context.Background(), callOf(compiled(t, "up", forged.URL, "auto")), &telemetry.Record{})
	if err != nil || a.Session() != "" {
		t.Error(a.Session(), err)
	}
	a.Close()
}
