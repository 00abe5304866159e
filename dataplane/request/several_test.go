package request_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const greeting = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}`

// two is the settings with a server that keeps sessions and one that doesn't.
func two(t testing.TB) (settings, *mcptest.Stateful) {
	keeper := &mcptest.Stateful{}
	a, b := mcptest.Start(t, keeper), mcptest.Start(t, mcptest.Stateless())
	return settings{servers: map[string]*configv1.ServerSpec{"keeper": server(a.URL), "plain": server(b.URL)}}, keeper
}

// begin opens a session on an endpoint and returns its id.
func (g *gateway) join(t testing.TB, path string) string {
	t.Helper()
	a := g.send(t, "POST", path, greeting)
	id := a.header.Get("Mcp-Session-Id")
	if a.status != 200 || id == "" {
		t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	if n := g.send(t, "POST", path, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id); n.status != 202 {
		t.Fatalf("initialized: %d %s", n.status, n.body)
	}
	return id
}

func toolNames(t testing.TB, body string) (out []string) {
	t.Helper()
	var m struct {
		Result struct {
			Tools []struct {
				Name string `json:"name"`
			} `json:"tools"`
		} `json:"result"`
	}
	fatal(t, json.Unmarshal([]byte(body), &m))
	for _, tool := range m.Result.Tools {
		out = append(out, tool.Name)
	}
	return out
}

func TestAggregateListsAndCalls(t *testing.T) {
	s, keeper := two(t)
	g := start(t, s)
	id := g.join(t, "/mcp")
	l := g.send(t, "POST", "/mcp", list, "Mcp-Session-Id", id)
	if got := strings.Join(toolNames(t, l.body), " "); got != "keeper-ask plain-echo" {
		t.Errorf("listed %q: %s", got, l.body)
	}
	c := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"plain-echo","arguments":{}}}`, "Mcp-Session-Id", id)
	if c.status != 200 || !strings.Contains(c.body, "hello") {
		t.Errorf("%d %s", c.status, c.body)
	}
	if a := g.send(t, "DELETE", "/mcp", "", "Mcp-Session-Id", id); a.status != 200 || keeper.Sessions() != 0 {
		t.Errorf("DELETE: %d, %d sessions left", a.status, keeper.Sessions())
	}
}

// next returns the data of the next event.
func nextData(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSpace(data)
		}
	}
}

func TestServersAskThroughTheAggregate(t *testing.T) {
	s, _ := two(t)
	a, b, c := start(t, s), start(t, s), start(t, s)
	id := a.join(t, "/mcp")
	stream := c.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	if stream.StatusCode != http.StatusOK {
		t.Fatal(stream.Status)
	}
	call := b.open(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"keeper-ask","arguments":{}}}`,
		"Mcp-Session-Id", id, "Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2025-06-18")
	defer call.Body.Close()
	events := bufio.NewReader(call.Body)
	var ask struct {
		ID     string `json:"id"`
		Method string `json:"method"`
	}
	fatal(t, json.Unmarshal([]byte(nextData(t, events)), &ask))
	if ask.Method != "elicitation/create" || ask.ID == "ask-1" {
		t.Fatalf("asked %+v", ask)
	}
	if r := c.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":"`+ask.ID+`","result":{"action":"accept","content":{}}}`, "Mcp-Session-Id", id); r.status != http.StatusAccepted {
		t.Fatalf("answer: %d %s", r.status, r.body)
	}
	if got := nextData(t, events); !strings.Contains(got, `answered \"ask-1\"`) || !strings.Contains(got, `"id":"c1"`) {
		t.Errorf("result: %s", got)
	}
	if got := nextData(t, bufio.NewReader(stream.Body)); !strings.Contains(got, "tools/list_changed") {
		t.Errorf("GET: %s", got)
	}
}
