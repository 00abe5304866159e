//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"regexp"
	"testing"
)

var uiAddress = regexp.MustCompile(`http://[0-9.]+:6274\?MCP_INSPECTOR_API_TOKEN=[0-9a-f]+`)

// inspectorUI opens the Inspector's UI in Chromium, a page for each visit, and uses it as a person does.
func inspectorUI(t *testing.T, visits []*clientVisit) []clientSaid {
	servers, asks := map[string]any{}, []map[string]string{}
	for _, v := range visits {
		servers[v.clientDoor.Name] = map[string]any{"type": "streamable-http", "url": v.Address(), "headers": v.Header()}
		asks = append(asks, map[string]string{"name": v.clientDoor.Name, "tool": v.tool(), "message": v.Message(), "shows": v.Answer()})
	}
	host := ownHost()
	p := visits[0].client(t, "mcp.json", inJSON(t, map[string]any{"mcpServers": servers}),
		[]string{"MCP_AUTO_OPEN_ENABLED=false", "MCP_INSPECTOR_SECRET_STORE=memory", "HOST=" + host, "CLIENT_PORT=6274", "BIND_HOST=" + host},
		node(t), "--require", script(t, "loopback.cjs"), npm(t, "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js"),
		"--web", "--config", "mcp.json")
	ui, address := start(t, p), ""
	eventually(t, clientLimit, "the UI says where it is", func() error {
		if address = uiAddress.FindString(ui.output()); address == "" {
			return errors.New(ui.output())
		}
		return nil
	})
	listening(t, ui, host+":6274")
	out := must(t, 2*clientLimit, program{Name: "chromium", Args: []string{node(t), script(t, "inspector.mjs"),
		inJSON(t, map[string]any{"chromium": debian(t, "chromium"), "url": address, "servers": asks})}}, "")
	var pages []struct {
		Name, Revision, Result, Error string
		Tools                         []string
	}
	if err := json.Unmarshal([]byte(out), &pages); err != nil || len(pages) != len(visits) {
		t.Fatalf("%v: %s", err, out)
	}
	said := []clientSaid{}
	for i, v := range visits {
		page := pages[i]
		if page.Error != "" || page.Revision != v.Revision {
			t.Errorf("%s: the page shows revision %q: %s", page.Name, page.Revision, page.Error)
		}
		said = append(said, clientSaid{Tools: page.Tools, Result: page.Result, Text: out})
	}
	return said
}
