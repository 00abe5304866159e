package request_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// asked returns what the upstream was asked, in order: HTTP method, MCP method, session.
func asked(up *mcptest.Upstream) []string {
	var out []string
	for _, s := range up.Seen() {
		method := ""
		if i := strings.Index(string(s.Body), `"method":"`); i >= 0 {
			method, _, _ = strings.Cut(string(s.Body[i+10:]), `"`)
		}
		out = append(out, strings.TrimSpace(s.Method+" "+method+" "+s.Header.Get("Mcp-Session-Id")))
	}
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// A caller without session, version and _meta gets a session of its own for one call.
func TestBareCallsGetTheirOwnSession(t *testing.T) {
	up := &mcptest.Stateful{}
	u := mcptest.Start(t, up)
	g := start(t, one(u.URL))
	for range 2 {
		a := g.send(t, http.MethodPost, "/up/mcp", list)
		if a.status != 200 || !strings.Contains(a.body, `"id":1,"result":{"tools"`) || a.header.Get("Mcp-Session-Id") != "" {
			t.Fatalf("%d %v %s", a.status, a.header, a.body)
		}
	}
	g.stop() // goodbyes are said after the answer is out
	var want []string
	for i := 1; i <= 2; i++ {
		want = append(want, "POST initialize", fmt.Sprintf("POST notifications/initialized session-%d", i), fmt.Sprintf("POST tools/list session-%d", i), fmt.Sprintf("DELETE  session-%d", i))
	}
	same(t, "upstream", asked(u), want)
	for i, s := range u.Seen() {
		if got := s.Header.Get("Mcp-Protocol-Version"); (got == "2025-11-25") != (i%4 != 0) {
			t.Errorf("request %d bore version %q", i, got)
		}
	}
	if up.Sessions() != 0 {
		t.Errorf("%d sessions are left", up.Sessions())
	}
}

// A server that wants no session is called directly from the second call on.
func TestSessionlessServersAreRemembered(t *testing.T) {
	u := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(u.URL))
	for range 3 {
		if a := g.send(t, http.MethodPost, "/up/mcp", list); a.status != 200 || !strings.Contains(a.body, `"name":"echo"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	same(t, "upstream", asked(u), []string{"POST initialize", "POST tools/list", "POST tools/list", "POST tools/list"})
}

// A remembered server that begins to want sessions is asked again after it refused once.
func TestServersMayBeginToWantSessions(t *testing.T) {
	var wants atomic.Bool
	plain, strict := mcptest.Stateless(), &mcptest.Stateful{}
	u := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wants.Load() {
			strict.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	}))
	g := start(t, one(u.URL))
	g.send(t, http.MethodPost, "/up/mcp", list)
	wants.Store(true)
	if a := g.send(t, http.MethodPost, "/up/mcp", list); a.status != 400 {
		t.Errorf("the call between: %d %s", a.status, a.body)
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", list); a.status != 200 {
		t.Errorf("the call after: %d %s", a.status, a.body)
	}
}

func TestBareCallersGetJSON(t *testing.T) {
	sse := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		w.Header().Set("Content-Type", "text/event-stream")
		mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}`)
		if m.Method == "initialize" {
			mcptest.Event(w, "", mcptest.Answer(m, `{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`))
			return
		}
		mcptest.Event(w, "", mcptest.Answer(m, mcptest.Text("done")))
	}))
	g := start(t, one(sse.URL))
	for _, accept := range []string{"", "*/*", "application/json"} {
		a := g.send(t, http.MethodPost, "/up/mcp", list, "Accept", accept)
		if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.body != `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}` {
			t.Errorf("Accept %q: %d %s %s", accept, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	a := g.send(t, http.MethodPost, "/up/mcp", list, "Accept", "application/json, text/event-stream")
	if a.header.Get("Content-Type") != "text/event-stream" || !strings.Contains(a.body, "working") {
		t.Errorf("with event streams accepted: %v %s", a.header, a.body)
	}
}

// What goes wrong while the gateway begins a session bears the caller's id and names the upstream.
func TestBareCallsFailInTheCallersTerms(t *testing.T) {
	status := func(code int, kind, body string) *configv1.ServerSpec {
		return server(mcptest.Start(t, mcptest.Status(code, kind, body)).URL)
	}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{
		"modern":  server(mcptest.Start(t, &mcptest.Modern{}).URL),
		"refuses": status(200, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}`),
		"denies":  status(403, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}`),
		"ends":    status(200, "text/event-stream", ": nothing\n\n"),
		"page":    server(mcptest.Start(t, mcptest.Page(200)).URL),
		"gone":    server(mcptest.RefusedURL(t)),
	}})
	for name, want := range map[string]struct {
		status int
		face   string
	}{
		"modern":  {400, "hop=upstream; phase=protocol; kind=unsupported; server=modern"},
		"refuses": {502, "hop=upstream; phase=protocol; kind=unsupported; remote=true; upstream_status=200; server=refuses"},
		"denies":  {502, "hop=upstream; phase=headers; kind=denied; remote=true; upstream_status=403; server=denies"},
		"ends":    {502, "hop=upstream; phase=stream; kind=reset; server=ends"},
		"page":    {502, "hop=upstream; phase=intermediary; kind=mismatch; upstream_status=200; server=page"},
		"gone":    {502, "hop=upstream; phase=connect; kind=refused; server=gone"},
	} {
		a := g.send(t, http.MethodPost, "/"+name+"/mcp", strings.Replace(list, `"id":1`, `"id":"mine"`, 1))
		if a.status != want.status || a.header.Get("X-Hopgate-Error") != want.face || !strings.Contains(a.body, `"id":"mine"`) {
			t.Errorf("%s: %d %s %s", name, a.status, a.header.Get("X-Hopgate-Error"), a.body)
		}
		if name == "modern" && !strings.Contains(a.body, `"code":-32022`) {
			t.Errorf("modern: %s", a.body)
		}
	}
}

// A caller isn't made to wait for the end of its session.
func TestGoodbyesDontDelayTheAnswer(t *testing.T) {
	up, bye := &mcptest.Stateful{}, make(chan struct{})
	u := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			<-bye
		}
		up.ServeHTTP(w, r)
	}))
	g, began := start(t, one(u.URL)), time.Now()
	if a := g.send(t, http.MethodPost, "/up/mcp", list); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if up.Sessions() != 1 || time.Since(began) > 3*time.Second {
		t.Errorf("the answer came after the session's end, in %v", time.Since(began))
	}
	close(bye)
	g.stop()
	if up.Sessions() != 0 {
		t.Error("the session didn't end")
	}
}

// The session of a call whose caller left is ended as well.
func TestGoodbyesAreSaidForCallersWhoLeft(t *testing.T) {
	up, called := &mcptest.Stateful{}, make(chan struct{})
	u := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mcptest.Peek(r).Method == "tools/call" {
			close(called)
			<-r.Context().Done()
			return
		}
		up.ServeHTTP(w, r)
	}))
	g := start(t, one(u.URL))
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/up/mcp", strings.NewReader(echo))
	fatal(t, err)
	req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-called
	leave()
	<-gone
	g.stop()
	if up.Sessions() != 0 {
		t.Error("the session didn't end")
	}
}
