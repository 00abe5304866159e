package request_test

import (
	"bufio"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Many servers that change at once are one piece of news, and what else they say doesn't wait for it.
func TestChangesOfManyListsAreToldOnce(t *testing.T) {
	const changed = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	servers, rich := map[string]*configv1.ServerSpec{}, map[string]*mcptest.Rich{}
	for _, name := range []string{"a", "b", "c"} {
		r := &mcptest.Rich{EventIDs: true}
		servers[name], rich[name] = server(mcptest.Start(t, r).URL), r
	}
	g := start(t, settings{servers: servers})
	id := g.join(t, "/mcp")
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	for _, name := range []string{"a", "b", "c"} {
		rich[name].Push(changed)
	}
	rich["a"].Push(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"last"}}`)
	told, events := 0, bufio.NewReader(stream.Body)
	for last := false; !last || told == 0; {
		switch data := nextData(t, events); {
		case strings.Contains(data, "list_changed"):
			told++
		case strings.Contains(data, `"last"`):
			last = true
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
