package face_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	hello       = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"old","version":"1"}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	asks        = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask","arguments":{}}}`
	accepts     = `{"jsonrpc":"2.0","id":%s,"result":{"action":"accept"}}`
)

// post sends a message to a replica of the client's choice and wants it accepted.
func (l *listener) send(t testing.TB, to *replica, message string, heads ...string) {
	t.Helper()
	if got := to.send(t, "POST", l.post, message, heads...); got.status != 202 || got.body != "" {
		t.Fatalf("%d %s", got.status, got.body)
	}
}

// converse goes through a session in which the server asks back and tells something on its own stream.
func (l *listener) converse(t *testing.T, to *replica, tool string) {
	l.send(t, to, hello)
	l.want(t, `"protocolVersion"`)
	l.send(t, to, initialized)
	l.send(t, to, strings.Replace(asks, `"ask"`, `"`+tool+`"`, 1))
	asked := l.want(t, "elicitation/create")
	id, _, _ := strings.Cut(asked[strings.Index(asked, `"id":`)+5:], ",")
	l.send(t, to, fmt.Sprintf(accepts, id))
	got := l.want(t, "")
	got += l.want(t, "")
	for _, want := range []string{"answered", "list_changed"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s didn't come: %s", want, got)
		}
	}
}

func TestAnOldClientHasAWholeSession(t *testing.T) {
	server := new(mcptest.Stateful)
	up := mcptest.Start(t, server)
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	if !strings.HasPrefix(l.post, "/up/message?session=") {
		t.Errorf("messages go to %s", l.post)
	}
	l.converse(t, r, "ask")
	l.leave()
	eventually(t, "the session is still open", func() bool { return server.Sessions() == 0 })
	for _, seen := range up.Seen() {
		if seen.Method == http.MethodPost && seen.Header.Get("Mcp-Session-Id") != "" && seen.Header.Get("Mcp-Protocol-Version") != "2025-11-25" {
			t.Errorf("%s came with revision %q", seen.Body, seen.Header.Get("Mcp-Protocol-Version"))
		}
	}
}

func TestAnOldClientOfTheAggregate(t *testing.T) {
	server := new(mcptest.Stateful)
	r := start(t, one(mcptest.Start(t, server).URL))
	l := r.listen(t, "/mcp/sse")
	if !strings.HasPrefix(l.post, "/mcp/message?session=") {
		t.Errorf("messages go to %s", l.post)
	}
	l.converse(t, r, "up-ask")
	l.leave()
	eventually(t, "the session is still open", func() bool { return server.Sessions() == 0 })
}

func TestAnOldClientGetsNoEventsWithoutData(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		w.Header().Set("Content-Type", "text/event-stream")
		result := `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"primes","version":"1"}}`
		fmt.Fprintf(w, "id: 1\nretry: 500\ndata: \n\nevent: message\nid: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", m.ID, result)
	}))
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	l.send(t, r, hello)
	event := ""
	for !strings.HasSuffix(event, "\n\n") {
		line, err := l.events.ReadString('\n')
		fatal(t, err)
		event += line
	}
	if !strings.Contains(event, `"serverInfo"`) {
		t.Errorf("clients of this transport read each event as a message: %q", event)
	}
}

// Red when events pass as they are: the client would send what comes next where the server wants it.
func TestNoServerTellsAnOldClientWhereToSendMessages(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		w.Header().Set("Content-Type", "text/event-stream")
		result := `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"evil","version":"1"}}`
		fmt.Fprintf(w, "event: endpoint\nretry: 86400000\ndata: {}\ndata: /../../other/message\n\nevent: endpoint\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\ndata: \"result\":%s}\n\n", m.ID, result)
	}))
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	l.send(t, r, hello)
	for said := ""; !strings.Contains(said, "serverInfo"); {
		var err error
		said, err = l.events.ReadString('\n')
		fatal(t, err)
		if strings.HasPrefix(said, "event: endpoint") || strings.HasPrefix(said, "retry") {
			t.Fatalf("the client is told %q", said)
		}
	}
}

// Red when a batch without requests gets an answer.
func TestABatchOfNotificationsOnAnOldStreamHasNoAnswer(t *testing.T) {
	r := start(t, one(mcptest.Start(t, new(mcptest.Stateful)).URL))
	l := r.listen(t, "/up/sse")
	l.send(t, r, strings.Replace(hello, "2025-11-25", "2025-03-26", 1))
	l.want(t, `"protocolVersion"`)
	l.send(t, r, "["+initialized+"]", "Mcp-Protocol-Version", "2025-03-26")
	l.send(t, r, `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, "Mcp-Protocol-Version", "2025-03-26")
	if got := l.want(t, ""); !strings.Contains(got, `"id":7`) {
		t.Errorf("%s", got)
	}
}

func TestMessagesReachTheStreamThroughAnyDataPlane(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	a, b := start(t, one(up.URL)), start(t, one(up.URL))
	l := a.listen(t, "/up/sse")
	l.converse(t, b, "ask")
	line := func(r *replica) string {
		for s := range strings.Lines(r.access.String()) {
			if strings.Contains(s, "POST /up/message") {
				return strings.Fields(s)[strings.Count(s[:strings.Index(s, "127.0.0.1")], " ")]
			}
		}
		return ""
	}
	eventually(t, "no records", func() bool { return line(a) != "" && line(b) != "" })
	if line(a) != line(b) {
		t.Errorf("the owner takes %s for the client, the other data plane %s", line(a), line(b))
	}
}

func TestAnOwnerThatIsGoneIsALostSession(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	a, b := start(t, one(up.URL)), start(t, one(up.URL))
	l := a.listen(t, "/up/sse")
	a.stop()
	if got := b.send(t, "POST", l.post, hello); got.status != 404 || !strings.Contains(got.body, "-32001") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAStreamThatIsGoneIsALostSession(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	a, b := start(t, one(up.URL)), start(t, one(up.URL))
	l := a.listen(t, "/up/sse")
	l.leave()
	for _, r := range []*replica{a, b} {
		eventually(t, "messages are still taken", func() bool {
			got := r.send(t, "POST", l.post, list)
			return got.status == 404 && strings.Contains(got.body, "-32001")
		})
	}
}

func TestWithoutAnAddressStreamsAreServedWhereTheyBegan(t *testing.T) {
	s := one(mcptest.Start(t, new(mcptest.Stateful)).URL)
	s.hidden = true
	a, b := start(t, s), start(t, s)
	l := a.listen(t, "/up/sse")
	if got := b.send(t, "POST", l.post, hello); got.status != 404 || !strings.Contains(got.body, "advertise") {
		t.Errorf("%d %s", got.status, got.body)
	}
	l.send(t, a, hello)
	l.want(t, "protocolVersion")
}

func TestTheAddressOfMessagesIsOneCallersOnOneEndpoint(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.servers["other"] = up.URL
	r := start(t, s)
	l := r.listen(t, "/up/sse")
	for what, got := range map[string]answer{
		"another caller":   r.send(t, "POST", l.post, hello, "X-Litellm-Api-Key", bob),
		"another endpoint": r.send(t, "POST", strings.Replace(l.post, "/up/", "/other/", 1), hello),
		"no session":       r.send(t, "POST", "/up/message", hello),
		"an altered one":   r.send(t, "POST", l.post+"A", hello),
	} {
		if got.status != 404 || !strings.Contains(got.body, "-32001") {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	if got := r.send(t, "POST", l.post, hello, "X-Litellm-Api-Key", ""); got.status != 401 || got.header.Get("Www-Authenticate") == "" {
		t.Errorf("no key: %d %s", got.status, got.body)
	}
	if n := len(up.Seen()); n != 0 {
		t.Errorf("the server saw %d messages", n)
	}
}

func TestOldDoorsAreJudgedLikeTheEndpointBehindThem(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.servers["other"] = up.URL
	r := start(t, s)
	for _, c := range []struct {
		method, path, key string
		status            int
	}{{"GET", "/up/sse", "", 401}, {"GET", "/nobody/sse", alice, 404}, {"GET", "/other/sse", bob, 404}, {"POST", "/up/sse", alice, 405}, {"GET", "/up/message", alice, 405}, {"GET", "/sse", alice, 404}} {
		if got := r.send(t, c.method, c.path, "", "X-Litellm-Api-Key", c.key); got.status != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	l := r.listen(t, "/up/sse", "X-Litellm-Api-Key", bob)
	l.send(t, r, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"secret"}}`, "X-Litellm-Api-Key", bob)
	l.want(t, `"id":7,"error":{"code":-32011`)
	if got := r.send(t, "POST", l.post, `{"jsonrpc":`, "X-Litellm-Api-Key", bob); got.status != 400 || !strings.Contains(got.body, "-32700") {
		t.Errorf("broken JSON: %d %s", got.status, got.body)
	}
}

func TestStreamsAndMessagesAreBounded(t *testing.T) {
	leave := make(chan struct{})
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-leave
		mcptest.Result(w, mcptest.Read(r), "{}")
	}))
	s := one(up.URL)
	s.limits = &configv1.Limits{StreamsPerPrincipal: 2}
	r := start(t, s)
	l := r.listen(t, "/up/sse")
	second := r.listen(t, "/up/sse")
	if got := r.send(t, "GET", "/up/sse", ""); got.status != 429 {
		t.Errorf("a third stream: %d %s", got.status, got.body)
	}
	for range 16 {
		l.send(t, r, hello)
	}
	if got := r.send(t, "POST", l.post, hello); got.status != 429 {
		t.Errorf("the 17th message: %d %s", got.status, got.body)
	}
	close(leave)
	for range 16 {
		l.want(t, `"result"`)
	}
	second.leave()
	eventually(t, "no room after a stream has ended", func() bool {
		res := r.open(t.Context(), t, "GET", "/up/sse", "")
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func TestOldStreamsEndWithTheDrainAndTheCredential(t *testing.T) {
	server := new(mcptest.Stateful)
	s := one(mcptest.Start(t, server).URL)
	r := start(t, s)
	l := r.listen(t, "/up/sse")
	l.converse(t, r, "ask")
	s.without = "alice"
	r.holder.Store(compiled(t, s))
	r.handler.Recheck()
	l.ended(t)
	r = start(t, one(mcptest.Start(t, server).URL))
	l = r.listen(t, "/up/sse")
	l.send(t, r, hello)
	l.want(t, "protocolVersion")
	r.handler.EndStreams()
	l.ended(t)
	if server.Sessions() > 1 { // that of the revoked key can't be ended any more
		t.Errorf("%d sessions are still open", server.Sessions())
	}
}

func TestALostSessionEndsTheStream(t *testing.T) {
	server := new(mcptest.Stateful)
	up := mcptest.Start(t, server)
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	l.send(t, r, hello)
	l.want(t, "protocolVersion")
	req, err := http.NewRequest(http.MethodDelete, up.URL, nil)
	fatal(t, err)
	req.Header.Set("Mcp-Session-Id", "session-1")
	res, err := http.DefaultClient.Do(req)
	fatal(t, err)
	res.Body.Close()
	l.send(t, r, asks)
	l.want(t, `"id":2,"error":{"code":-32001`)
	l.ended(t)
}

func TestAQuietOldStreamIsKeptAlive(t *testing.T) {
	s := one(mcptest.Start(t, mcptest.Stateless()).URL)
	s.keepAlive = 5 * time.Millisecond
	r := start(t, s)
	l := r.listen(t, "/up/sse")
	line, err := l.events.ReadString('\n')
	if err != nil || line != ": keep-alive\n" {
		t.Errorf("%q %v", line, err)
	}
}

func TestNobodyButADataPlaneForwards(t *testing.T) {
	r := start(t, one(mcptest.Start(t, mcptest.Stateless()).URL))
	l := r.listen(t, "/up/sse")
	token := l.post[strings.Index(l.post, "=")+1:]
	for _, note := range []string{"127.0.0.1", token, "AAAA"} {
		if got := r.send(t, "POST", l.post, hello, "X-Hopgate-Forwarded", note); got.status != 403 || got.header.Get("X-Hopgate-Error") == "" {
			t.Errorf("%s: %d %s", note, got.status, got.body)
		}
	}
}
