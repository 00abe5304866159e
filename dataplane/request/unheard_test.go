package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// asking is a server whose tool asks its client everything there is, the first question twice, and answers with what it was told.
func asking() *mcptest.Rich {
	return &mcptest.Rich{Streams: true, Mute: true, Tools: []string{tool("ask")}, Do: map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
		var got []string
		for _, q := range questions {
			id := `"` + q.method + `"`
			got = append(got, c.Ask(id, q.method, q.params))
			c.Send(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + q.method + `","params":{}}`)
		}
		c.Answer(`{"content":[],"got":[` + strings.Join(got, ",") + `]}`)
	}}}
}

// Who can't be asked is no reason to wait: the tool hears at once that nobody answers, each time once, and ends.
func TestQuestionsThatNobodyHearsAreAnswered(t *testing.T) {
	up := asking()
	u := mcptest.Start(t, up)
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(u.URL)}})
	both := "application/json, text/event-stream"
	for _, c := range []struct {
		what, path, body string
		heads            []string
	}{
		{"bare", "/rich/mcp", call("1", "ask"), nil},
		{"bare, events", "/rich/mcp", call("1", "ask"), []string{"Accept", both}},
		{"bare, of several", "/mcp", call("1", "rich-ask"), nil},
		{"bare, of several, events", "/mcp", call("1", "rich-ask"), []string{"Accept", both}},
		{"a session that takes no events", "/mcp", call("1", "rich-ask"), []string{"Accept", "application/json", "Mcp-Session-Id", g.join(t, "/mcp")}},
		{"an item of a batch", "/rich/mcp", "[" + call("1", "ask") + "]", []string{"Mcp-Protocol-Version", "2025-03-26", "Mcp-Session-Id", g.join(t, "/rich/mcp")}},
	} {
		before := len(u.Seen())
		a := g.send(t, http.MethodPost, c.path, c.body, c.heads...)
		if a.status != 200 || !strings.Contains(a.body, `"got":[{"jsonrpc":"2.0","id":"elicitation/create","error":{"code":-32601,`) ||
			strings.Count(a.body, "-32601") != 3 || !strings.Contains(a.body, `{"jsonrpc":"2.0","id":"ping","result":{}}`) {
			t.Errorf("%s: %d %s", c.what, a.status, a.body)
		}
		answers := 0
		for _, s := range u.Seen()[before:] {
			if s.Method == http.MethodPost && !strings.Contains(string(s.Body), `"method"`) {
				answers++
			}
		}
		if answers != len(questions) {
			t.Errorf("%s: %d answers to %d questions", c.what, answers, len(questions))
		}
	}
}

// A client that can be asked answers for itself, also where its call runs in a session of its own.
func TestClientsThatCanBeAskedAre(t *testing.T) {
	up := asking()
	f := startFleet(t, up, func(s *settings) {
		s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL)
	})
	c := f.join(t, ways[1])
	forget(up)
	stream := c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
	for _, q := range questions {
		for range 2 {
			data, _ := stream.next(t)
			if text(field(data, "method")) != q.method {
				t.Fatalf("%s came as %s", q.method, data)
			}
			c.post(t, `{"jsonrpc":"2.0","id":`+field(data, "id")+`,`+q.answer+`}`)
		}
	}
	if data, _ := stream.next(t); strings.Contains(data, "-32601") || !strings.Contains(data, questions[0].answer) {
		t.Errorf("%s", data)
	}
}
