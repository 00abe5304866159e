package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// A stream that was cut is resumed on another data plane: what was missed comes once, then what is said from there on, and it ends where the
// server ends it.
func TestResumedAnswersComeOnceAndEnd(t *testing.T) {
	onEveryWay(t, func() http.Handler {
		return &mcptest.Rich{Streams: true, EventIDs: true, Tools: []string{tool("long")}, Do: map[string]func(c *mcptest.Call){"long": func(c *mcptest.Call) {
			c.Send(saying("one"))
			c.Ask("7", "elicitation/create", `{"message":"go on?"}`)
			c.Send("{ }")
			c.Send(saying("two"))
			c.Answer(`{"content":[]}`)
		}}}
	}, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		call := c.open(t, http.MethodPost, c.tool("1", "long", "{}"))
		_, id := call.next(t)
		asked, _ := call.next(t)
		call.Body.Close()
		if !strings.Contains(asked, "elicitation/create") || id == "" {
			t.Fatalf("asked %s, first id %q", asked, id)
		}
		again := c.open(t, http.MethodGet, "", "Last-Event-Id", id)
		first, _ := again.next(t)
		if a := c.post(t, `{"jsonrpc":"2.0","id":`+field(first, "id")+`,"result":{"action":"accept"}}`); a.status != 202 {
			t.Fatalf("the answer: %d %s", a.status, a.body)
		}
		rest := again.rest()
		if strings.Contains(rest, "{ }") {
			t.Errorf("an event without a message: %s", rest)
		}
		if !strings.Contains(first, "elicitation/create") || strings.Count(rest, `"two"`) != 1 || strings.Count(rest, `"result"`) != 1 ||
			strings.Contains(rest, `"one"`) {
			t.Errorf("resumed: %s\nthen %s", first, rest)
		}
	})
}

// A merged stream that was cut goes on with all its servers, each where it was, those that have no event ids, too. What was heard isn't told
// again when a server's own stream breaks.
func TestResumedListenersHearAllServersOnce(t *testing.T) {
	rich, plain := &mcptest.Rich{EventIDs: true, Tools: []string{tool("a")}}, &mcptest.Rich{Tools: []string{tool("b")}}
	f := startFleet(t, rich, func(s *settings) { s.servers["plain"] = server(mcptest.Start(t, plain).URL) })
	c := f.join(t, ways[1])
	get := c.open(t, http.MethodGet, "")
	rich.Push(saying("first"))
	told, id := get.next(t)
	if !strings.Contains(told, `"first"`) || id == "" {
		t.Fatalf("told %s, id %q", told, id)
	}
	get.Body.Close()
	rich.Push(saying("meanwhile"))
	again := c.open(t, http.MethodGet, "", "Last-Event-Id", id)
	if told, _ = again.next(t); !strings.Contains(told, `"meanwhile"`) {
		t.Fatalf("resumed: %s", told)
	}
	plain.Push(saying("plainly"))
	if told, _ = again.next(t); !strings.Contains(told, `"plainly"`) {
		t.Fatalf("the server without ids: %s", told)
	}
	rich.CutStreams()
	rich.Push(saying("later"))
	if told, _ = again.next(t); !strings.Contains(told, `"later"`) {
		t.Fatalf("behind the break: %s", told)
	}
}

func saying(what string) string {
	return `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + what + `"}}`
}
