//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Real clients must see through the gateway what they see without it: same revision, same tools, same results, same end.

// three is a gateway in front of three real servers.
type three struct {
	*proxy
	control *control
	key     string
	direct  map[string]string // server name to its own URL
}

// Names of the three servers at the gateway.
const (
	npmServer = "npm_everything"
	stateful  = "sdk_stateful"
	stateless = "sdk_stateless"
)

func startThree(t *testing.T) *three {
	t.Helper()
	g := &three{control: startControl(t, "control", nil)}
	g.direct = map[string]string{npmServer: npmEverything(t), stateful: sdkEverything(t, false, ownHost()+":3001"), stateless: sdkEverything(t, true, ownHost()+":3001")}
	g.proxy = startProxy(t, "proxy", nil, []*control{g.control})
	for name, url := range g.direct {
		g.control.apply(t, server(name, url))
	}
	g.key = g.control.key(t, "clients", "*", "--roles", "debug")
	return g
}

// keyHeader is the header as the troubleshooting guide writes it.
func (g *three) keyHeader() string { return "x-litellm-api-key: Bearer " + g.key }

// transient is a tool of the SDK's server that comes and goes by itself.
const transient = "__transient_tool_for_list_changed"

// testCall is a call that every one of the servers answers the same way each time.
func testCall(server string) (tool string, args map[string]any) {
	if server == npmServer {
		return "echo", map[string]any{"message": "hello"}
	}
	return "test_simple_text", map[string]any{}
}

func TestInspectorSeesTheSameThroughTheGateway(t *testing.T) {
	g := startThree(t)
	works := map[string]bool{"legacy": true, "auto": true}
	for _, server := range []string{npmServer, stateful, stateless} {
		for _, era := range []string{"legacy", "auto", "modern"} {
			direct := inspect(t, g.direct[server], server, era)
			through := inspect(t, g.url(server), server, era, "--header", g.keyHeader(), "--header", "x-litellm-mcp-debug: true")
			t.Logf("%-14s %-6s exit %d, %s through the gateway, %s direct", server, era, through.Code, through.Took.Round(time.Millisecond), direct.Took.Round(time.Millisecond))
			if through.Out != direct.Out || through.Code != direct.Code {
				t.Errorf("%s, era %s: through the gateway %v\ndirect %v", server, era, through, direct)
			}
			if ok := works[era] || server == stateless; ok != (through.Code == 0) {
				t.Errorf("%s, era %s: works = %v is expected: %v", server, era, ok, through)
			}
		}
	}
}

func inspect(t *testing.T, url, server, era string, more ...string) result {
	t.Helper()
	tool, args := testCall(server)
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, 30*time.Second, program{Name: "inspector", Args: append([]string{node(t), npm(t, ".bin", "mcp-inspector"), "--cli", url, "--transport", "http",
		"--protocol-era", era, "--method", "tools/call", "--tool-name", tool, "--tool-args-json", string(b), "--quiet", "--format", "json", "--stored-auth-only"}, more...)}, "")
}

func TestInspectorListsToolsThroughTheGateway(t *testing.T) {
	g := startThree(t)
	for server, era := range map[string]string{npmServer: "auto", stateless: "modern"} {
		list := func(url string, more ...string) []string {
			out := must(t, 30*time.Second, program{Name: "inspector", Args: append([]string{node(t), npm(t, ".bin", "mcp-inspector"), "--cli", url, "--transport", "http",
				"--protocol-era", era, "--method", "tools/list", "--quiet", "--format", "json", "--stored-auth-only"}, more...)}, "")
			var m struct {
				Result struct{ Tools []struct{ Name string } }
			}
			if err := json.Unmarshal([]byte(out), &m); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			names := []string{}
			for _, x := range m.Result.Tools {
				if x.Name != transient {
					names = append(names, x.Name)
				}
			}
			return names
		}
		direct, through := list(g.direct[server]), list(g.url(server), "--header", g.keyHeader())
		if len(direct) < 10 || !slices.Equal(direct, through) {
			t.Errorf("%s: direct %v, through the gateway %v", server, direct, through)
		}
	}
}

// seen is what our TypeScript client prints.
type seen struct {
	Revision string
	Server   string
	Tools    []string
	Asked    []string
	Calls    []struct {
		Tool       string
		IsError    bool
		Content    json.RawMessage
		Structured json.RawMessage
		Steps      []float64
	}
	Error string
}

func TestTypeScriptClientsSeeTheSameThroughTheGateway(t *testing.T) {
	g := startThree(t)
	progress := map[string]any{"tool": "test_tool_with_progress", "progress": true}
	calls := map[string][]any{
		npmServer: {map[string]any{"tool": "echo", "arguments": map[string]any{"message": "hello"}},
			map[string]any{"tool": "trigger-long-running-operation", "arguments": map[string]any{"duration": 0.4, "steps": 4}, "progress": true},
			map[string]any{"tool": "get-structured-content", "arguments": map[string]any{"location": "Chicago"}}},
		stateful: {map[string]any{"tool": "test_simple_text"}, progress}, stateless: {map[string]any{"tool": "test_simple_text"}, progress},
	}
	for _, server := range []string{npmServer, stateful, stateless} {
		for _, c := range []struct {
			library int
			mode    string
		}{{1, ""}, {2, "auto"}, {2, "2026-07-28"}} {
			direct := typescript(t, c.library, c.mode, g.direct[server], "", calls[server])
			through := typescript(t, c.library, c.mode, g.url(server), g.key, calls[server])
			t.Logf("%-14s client %d.x %-10s revision %q, %d tools, %d calls %s", server, c.library, c.mode, through.Revision, len(through.Tools), len(through.Calls), through.Error)
			if c.mode == "2026-07-28" && server != stateless {
				if direct.Error == "" || !strings.Contains(through.Error, "2026-07-28") {
					t.Errorf("%s: a client pinned to 2026-07-28 must fail on a server without it and name the revision: %+v, direct %+v", server, through, direct)
				}
				continue
			}
			if a, b := fmt.Sprintf("%+v", readable(direct)), fmt.Sprintf("%+v", readable(through)); a != b || through.Error != "" {
				t.Errorf("%s, client %d.x %s:\n direct  %s\n gateway %s", server, c.library, c.mode, a, b)
			}
		}
	}
}

// readable leaves out what differs by itself.
func readable(s seen) map[string]any {
	s.Tools = slices.DeleteFunc(s.Tools, func(n string) bool { return n == transient })
	calls := []string{}
	for _, c := range s.Calls {
		calls = append(calls, fmt.Sprintf("%s %v %s %s %v", c.Tool, c.IsError, c.Content, c.Structured, c.Steps))
	}
	asked := slices.Compact(slices.Sorted(slices.Values(s.Asked))) // how often is up to the server's own timer
	return map[string]any{"revision": s.Revision, "server": s.Server, "tools": s.Tools, "asked": asked, "calls": calls, "error": s.Error}
}

func typescript(t *testing.T, library int, mode, url, key string, calls []any) seen {
	t.Helper()
	ask := map[string]any{"library": library, "mode": mode, "url": url, "calls": calls}
	if key != "" {
		ask["headers"] = map[string]string{"x-litellm-api-key": "Bearer " + key}
	}
	b, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	res := run(t, time.Minute, program{Name: "client", Args: []string{node(t), script(t, "client.mjs"), string(b)}}, "")
	var s seen
	if err := json.Unmarshal([]byte(res.Out), &s); err != nil {
		t.Fatalf("client %d.x: %v: %v", library, err, res)
	}
	return s
}

// listfeatures has no option for headers, so it goes through a gateway that takes callers without a key.
func TestGoClientListsTheSameThroughTheGateway(t *testing.T) {
	host := ownHost()
	direct := map[string]string{npmServer: npmEverything(t), stateful: sdkEverything(t, false, ownHost()+":3001"), stateless: sdkEverything(t, true, ownHost()+":3001")}
	up := start(t, program{Name: "up", Clean: true, Args: []string{hopgate(t), "up", "--anonymous", "--listen", host + ":4000", "--admin", host + ":4001",
		"--data-dir", filepath.Join(t.TempDir(), "data"), "--drain-timeout", "2s"}, Env: []string{"HOPGATE_MASTER_KEY=" + masterKey}})
	c := &control{running: up, Admin: host + ":4001"}
	c.wait(t)
	c.inSync(t, "local")
	for name, url := range direct {
		c.apply(t, server(name, url))
		list := func(url string) string {
			lines := strings.Split(must(t, 30*time.Second, program{Name: "listfeatures", Args: []string{tool(t, "E2E_GOSDK", "listfeatures"), "-http", url}}, ""), "\n")
			return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, transient) }), "\n")
		}
		without, through := list(url), list("http://"+host+":4000/"+name+"/mcp")
		if without != through || strings.Count(through, "\n") < 15 {
			t.Errorf("%s: direct\n%s\nthrough the gateway\n%s", name, without, through)
		}
	}
}

func TestClaudeCodeConnectsThroughTheGateway(t *testing.T) {
	g := startThree(t)
	home, dir := t.TempDir(), t.TempDir()
	claude := func(args ...string) string {
		return must(t, time.Minute, program{Name: "claude", Dir: dir, Args: append([]string{npm(t, "@anthropic-ai", "claude-code-linux-x64", "claude")}, args...),
			Env: []string{"HOME=" + home, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1", "DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "MCP_TIMEOUT=8000"}}, "")
	}
	t.Logf("claude %s", strings.TrimSpace(claude("--version")))
	for name := range g.direct {
		claude("mcp", "add", "--scope", "user", "--transport", "http", name, g.url(name), "--header", g.keyHeader(), "--header", "x-litellm-mcp-debug: true")
	}
	listed := claude("mcp", "list")
	for name := range g.direct {
		if want := name + ": " + g.url(name) + " (HTTP) - ✔ Connected"; !strings.Contains(listed, want) {
			t.Errorf("mcp list lacks %q:\n%s", want, listed)
		}
		if got := claude("mcp", "get", name); !strings.Contains(got, "✔ Connected") || !strings.Contains(got, "x-litellm-mcp-debug: true") {
			t.Errorf("mcp get %s:\n%s", name, got)
		}
	}
	t.Logf("mcp list:\n%s", listed)
}
