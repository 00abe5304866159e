package request_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Who sends no name, or none that can be one, is told which field it is: no tool is unknown there.
func TestParamsThatNameNothingAreTheCallersMistake(t *testing.T) {
	s, _ := two(t)
	g := start(t, s)
	for _, c := range []struct{ method, params, want string }{
		{"tools/call", `,"params":{"name":5}`, "params.name of tools/call isn't a string"},
		{"tools/call", `,"params":{"name":""}`, "params.name of tools/call is empty"},
		{"tools/call", `,"params":{}`, "params.name of tools/call is missing"},
		{"tools/call", `,"params":[]`, "params of tools/call isn't an object"},
		{"tools/call", ``, "params.name of tools/call is missing"},
		{"prompts/get", `,"params":{"name":null}`, "params.name of prompts/get isn't a string"},
		{"resources/read", `,"params":{"uri":[]}`, "params.uri of resources/read isn't a string"},
		{"completion/complete", `,"params":{"ref":{"type":"ref/prompt"}}`, "params.ref.name of completion/complete is missing"},
		{"completion/complete", `,"params":{}`, "params.ref of completion/complete is missing"},
	} {
		a := g.send(t, "POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":"a","method":%q%s}`, c.method, c.params))
		if a.header.Get("X-Hopgate-Error") != "hop=client; phase=request; kind=malformed" || field(a.body, "error", "code") != "-32602" ||
			!strings.HasPrefix(text(field(a.body, "error", "message")), c.want) || field(a.body, "id") != `"a"` {
			t.Errorf("%s%s: %d %v %s", c.method, c.params, a.status, a.header["X-Hopgate-Error"], a.body)
		}
	}
	if a := g.send(t, "POST", "/mcp", call("1", "nobodys")); !strings.Contains(a.body, "Unknown tool: nobodys") {
		t.Errorf("%s", a.body)
	}
}

// Methods that nobody has, those of another era, those of servers, and those of single servers only are different mistakes.
func TestWhyAMethodIsntFound(t *testing.T) {
	s, _ := two(t)
	g := start(t, s)
	old := func(method string) answer { return g.send(t, "POST", "/mcp", rpc("1", method, "{}")) }
	modern := func(method string) answer {
		return g.send(t, "POST", "/mcp", modernCall(method, ""), modernHeads(method, "")...)
	}
	for _, c := range []struct {
		method, want, hop string
		send              func(method string) answer
		status            int
	}{
		{"tools/lst", "no revision of MCP has tools/lst", "client", old, 200},
		{"", "its name is empty", "client", old, 200},
		{"server/discover", "came with MCP 2026-07-28", "client", old, 200},
		{"roots/list", "isn't a request that clients make", "client", old, 200},
		{"tasks/list", "endpoints of several servers don't have tasks/list", "gateway", old, 200},
		{"ping", "MCP 2026-07-28 has no ping", "client", modern, 404},
		{"tools/lst", "no revision of MCP has tools/lst", "client", modern, 404},
	} {
		a := c.send(c.method)
		if a.status != c.status || !strings.Contains(a.body, c.want) || field(a.body, "error", "code") != "-32601" ||
			!strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop="+c.hop+";") || c.hop == "client" && strings.Contains(a.body, "send it to the endpoint of one") {
			t.Errorf("%q: %d %v %s", c.method, a.status, a.header["X-Hopgate-Error"], a.body)
		}
	}
}

// Refusals name a tool as their caller does, not as the server that the config stands before.
func TestRefusalsUseTheCallersNames(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Rich{Sessionless: true, Tools: []string{`{"name":"secretly","inputSchema":{"type":"object","properties":{"n":{},"m":{}}}}`}})
	spec := server(up.URL)
	spec.Tools = &configv1.ServerTools{Overrides: []*configv1.ToolOverride{{Tool: "secretly", Name: "openly", Parameters: []string{"m"}}}}
	s := settings{servers: map[string]*configv1.ServerSpec{"gamma": spec}}
	s.more = []confset.Object{object(t, "toolset", "tset", &configv1.Toolset{Name: "tset", Spec: &configv1.ToolsetSpec{
		Tools: []*configv1.ToolsetTool{{Server: "gamma", Tool: "secretly", Name: "gsay"}}}})}
	g := start(t, s)
	for path, name := range map[string]string{"/gamma/mcp": "openly", "/mcp": "gamma-openly", "/toolset/tset/mcp": "gsay"} {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"n":1}}}`, name)
		a := g.send(t, "POST", path, body)
		if !strings.Contains(a.body, "of the tool "+name+" is left out") || strings.Contains(a.body, "secretly") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
