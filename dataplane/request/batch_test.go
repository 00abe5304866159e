package request_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const old = "2025-03-26"

// echoing answers each call with its tool's name, and a call of "talk" as events.
func echoing() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		switch {
		case len(m.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		case m.Method == "initialize":
			mcptest.Result(w, m, `{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
		case strings.Contains(string(m.Params), `"talk"`):
			w.Header().Set("Content-Type", "text/event-stream")
			mcptest.Event(w, "e1", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
			mcptest.Event(w, "e2", mcptest.Answer(m, mcptest.Text("talked")))
		case strings.Contains(string(m.Params), `"lost"`):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no such tool"}}`)
		default:
			mcptest.Result(w, m, mcptest.Text(string(m.Params)))
		}
	})
}

func call(id, tool string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q}}`, id, tool)
}

const note = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

func TestABatchIsAnsweredInItsOrder(t *testing.T) {
	up := mcptest.Start(t, echoing())
	g := start(t, one(up.URL))
	var items []string
	for i := range 49 {
		items = append(items, call(fmt.Sprint(i), fmt.Sprintf("tool%d", i)))
	}
	got := g.send(t, "POST", "/up/mcp", " [ "+strings.Join(items, " ,\n")+","+note+"] ", "Mcp-Protocol-Version", old, "Accept", "application/json")
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Content-Length") != fmt.Sprint(len(got.body)) {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	parts := strings.Split(strings.Trim(got.body, "[]"), `,{"jsonrpc"`)
	if len(parts) != 49 {
		t.Fatalf("%d answers: %s", len(parts), got.body)
	}
	for i, p := range parts {
		if !strings.Contains(p, fmt.Sprintf(`"id":%d,`, i)) || !strings.Contains(p, fmt.Sprintf(`tool%d\`, i)) {
			t.Errorf("answer %d is %s", i, p)
		}
	}
	if n := len(up.Seen()); n != 50 {
		t.Errorf("the server saw %d messages", n)
	}
}

func TestABatchOfNotificationsIsAccepted(t *testing.T) {
	up := mcptest.Start(t, echoing())
	g := start(t, one(up.URL))
	for _, accept := range []string{"application/json", "application/json, text/event-stream"} {
		got := g.send(t, "POST", "/up/mcp", "["+note+","+note+`,{"jsonrpc":"2.0","id":7,"result":{}}]`, "Mcp-Protocol-Version", old, "Accept", accept)
		if got.status != 202 || got.body != "" {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if n := len(up.Seen()); n != 6 {
		t.Errorf("the server saw %d messages", n)
	}
}

func TestABatchMayBeAnsweredByEvents(t *testing.T) {
	up := mcptest.Start(t, echoing())
	g := start(t, one(up.URL))
	got := g.send(t, "POST", "/up/mcp", "["+call("1", "talk")+","+call(`"b"`, "echo")+","+call("3", "lost")+"]", "Mcp-Protocol-Version", old, "Accept", "application/json, text/event-stream")
	if got.status != 200 || got.header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	for _, want := range []string{"notifications/progress", `"id":1,"result"`, `"id":"b","result"`, `"id":3,"error"`} {
		if strings.Count(got.body, want) != 1 {
			t.Errorf("%s isn't there once: %s", want, got.body)
		}
	}
	if strings.Contains(got.body, "id: e") {
		t.Errorf("an event has the id of one item's stream: %s", got.body)
	}
}

func TestEachItemOfABatchIsJudged(t *testing.T) {
	up := mcptest.Start(t, echoing())
	s := one(up.URL)
	s.keys = map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest("sk-carol-0123456789abcdef"), Servers: []string{"up"}, Tools: []*configv1.ToolRule{{Server: "up", Deny: []string{"secret"}}}}}
	g := start(t, s)
	got := g.send(t, "POST", "/up/mcp", "["+call("1", "echo")+","+call("2", "secret")+`,{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}},[`+call("4", "echo")+`],{"id":5},17]`,
		"Mcp-Protocol-Version", old, "X-Litellm-Api-Key", "sk-carol-0123456789abcdef")
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for _, want := range []string{`"id":1,"result"`, `"id":2,"error":{"code":-32011`, `"id":3,"error":{"code":-32600`, `"id":null,"error":{"code":-32600`, "initialize can't be part", "a batch within"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	for _, s := range up.Seen() {
		if strings.Contains(string(s.Body), "secret") {
			t.Error("a closed tool was called")
		}
	}
}

func TestABatchForSeveralServers(t *testing.T) {
	up := mcptest.Start(t, echoing())
	s := one(up.URL)
	s.servers["other"] = server(mcptest.Start(t, echoing()).URL)
	g := start(t, s)
	for _, accept := range []string{"application/json", "application/json, text/event-stream"} {
		got := g.send(t, "POST", "/mcp", "["+call("1", "up-a")+","+call("2", "other-b")+`,{"jsonrpc":"2.0","id":3,"method":"ping"}]`, "Mcp-Protocol-Version", old, "Accept", accept)
		if got.status != 200 || strings.Count(got.body, `"result"`) != 3 {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

func TestBatchesAreOfOneRevision(t *testing.T) {
	up := mcptest.Start(t, echoing())
	g := start(t, one(up.URL))
	fifty := strings.TrimSuffix(strings.Repeat(note+",", 51), ",")
	for _, c := range []struct {
		what, body, rev, says string
		status                int
	}{
		{"no revision", "[" + note + "]", "", "2025-03-26", 400},
		{"a later one", "[" + note + "]", "2025-06-18", "2025-03-26", 400},
		{"an earlier one", "[" + note + "]", "2024-11-05", "2025-03-26", 400},
		{"two", "[" + note + "]", "2025-03-26, 2025-06-18", "2025-03-26", 400},
		{"an empty one", "[ ]", old, "at least one message", 400},
		{"too many", "[" + fifty + "]", old, "at most 50", 400},
	} {
		got := g.send(t, "POST", "/up/mcp", c.body, "Mcp-Protocol-Version", c.rev)
		if got.status != c.status || !strings.Contains(got.body, c.says) || !strings.Contains(got.body, "-32600") {
			t.Errorf("%s: %d %s", c.what, got.status, got.body)
		}
	}
	if n := len(up.Seen()); n != 0 {
		t.Errorf("the server saw %d messages", n)
	}
}

func TestABatchOfALostSessionIsNotFound(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	g := start(t, one(up.URL))
	opened := g.send(t, "POST", "/up/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}`)
	token := opened.header.Get("Mcp-Session-Id")
	batch := "[" + note + "," + list + "]"
	for _, accept := range []string{"application/json", "application/json, text/event-stream"} {
		if got := g.send(t, "POST", "/up/mcp", batch, "Mcp-Session-Id", token, "Accept", accept); got.status != 200 || !strings.Contains(got.body, `"ask"`) {
			t.Errorf("within a session: %d %s", got.status, got.body)
		}
	}
	g.send(t, "DELETE", "/up/mcp", "", "Mcp-Session-Id", token)
	for _, accept := range []string{"application/json", "application/json, text/event-stream"} {
		if got := g.send(t, "POST", "/up/mcp", batch, "Mcp-Session-Id", token, "Accept", accept); got.status != 404 || !strings.Contains(got.body, "-32001") {
			t.Errorf("after its end: %d %s", got.status, got.body)
		}
	}
}

func TestABatchKeepsWithinTheLimitOfResults(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mcptest.Result(w, mcptest.Read(r), mcptest.Text(big)) }))
	s := one(up.URL)
	s.limits = &configv1.Limits{Result: "100KiB"}
	g := start(t, s)
	got := g.send(t, "POST", "/up/mcp", "["+call("1", "a")+","+call("2", "b")+","+call("3", "c")+"]", "Mcp-Protocol-Version", old)
	if got.status != 200 || strings.Count(got.body, `"result"`) != 2 || strings.Count(got.body, `"code":-32013`) != 1 {
		t.Errorf("%d, %d bytes", got.status, len(got.body))
	}
}

func TestABatchIsServedEightAtATime(t *testing.T) {
	arrived, leave := make(chan struct{}, 50), make(chan struct{})
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-leave
		mcptest.Result(w, mcptest.Read(r), mcptest.Text("x"))
	}))
	g := start(t, one(up.URL))
	var items []string
	for i := range 20 {
		items = append(items, call(fmt.Sprint(i), "x"))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := g.send(t, "POST", "/up/mcp", "["+strings.Join(items, ",")+"]", "Mcp-Protocol-Version", old); strings.Count(got.body, "result") != 20 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	for range 8 {
		<-arrived
	}
	for range 50 { // time enough for a ninth to arrive
		g.send(t, "GET", "/readyz", "")
	}
	if n := len(up.Seen()); n > 8 {
		t.Errorf("%d at once", n)
	}
	close(leave)
	wg.Wait()
}
