package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
)

// A call in a session of its own is cancelled there, by nobody but its caller.
func TestACallInASessionOfItsOwnIsCancelled(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	up := &mcptest.Rich{Mute: true, Tools: []string{tool("slow")}}
	up.Do = map[string]func(c *mcptest.Call){"slow": func(c *mcptest.Call) {
		close(begun)
		<-end
		c.Answer(`{"content":[]}`)
	}}
	s, seen := withRich(t, up)
	s.servers["also"] = server(mcptest.Start(t, &mcptest.Rich{Mute: true}).URL) // what keeps the session alive
	g := start(t, s)
	id, other := g.join(t, "/mcp"), g.join(t, "/mcp")
	forget(up)
	done := make(chan answer, 1)
	go func() { done <- g.send(t, "POST", "/mcp", call("7", "rich-slow"), "Mcp-Session-Id", id) }()
	<-begun
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"enough"}}`
	own := up.Sessions()
	for _, session := range []string{other, id} {
		if a := g.send(t, "POST", "/mcp", cancel, "Mcp-Session-Id", session); a.status != 202 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	close(end)
	if a := <-done; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	n := 0
	for _, r := range seen.Seen() {
		if strings.Contains(string(r.Body), "notifications/cancelled") && len(own) == 1 && r.Header.Get("Mcp-Session-Id") == own[0] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d cancellations came into the session %v", n, own)
	}
}

// Whose list is read since a name was cut pays for it before, once, and what comes beyond the limit reads no list.
func TestACutNameCountsBeforeTheListIsRead(t *testing.T) {
	long, dave := strings.Repeat("a_long_name_", 8), "sk-dave-0123456789abcdef"
	s, seen := withRich(t, &mcptest.Rich{Mute: true, Tools: []string{tool(long)}, Prompts: []string{tool(long)}})
	s.keys = map[string]*configv1.ApiKeySpec{"dave": {Sha256: digest(dave), Servers: []string{"*"}, Limits: &configv1.CallLimits{Rate: "1/h"}}}
	g, name := start(t, s), exposed.Expose("rich", long)
	if a := g.send(t, "POST", "/mcp", call("1", name), "X-Litellm-Api-Key", dave); a.status != 200 || !strings.Contains(a.body, `"result"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	before := posts(seen)
	a := g.send(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"`+name+`"}}`, "X-Litellm-Api-Key", dave)
	if n := posts(seen) - before; a.status != 429 || n != 0 {
		t.Errorf("%d requests reached the server: %d %s", n, a.status, a.body)
	}
}

// posts counts the messages that a server saw. The DELETE that ends a session of one call comes when that call is answered already.
func posts(up *mcptest.Upstream) (n int) {
	for _, r := range up.Seen() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}
