//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// second is one more stateless server of the SDK, for an endpoint of several servers that all speak 2026-07-28.
const second = "sdk_second"

// clientDoor is an endpoint that clients use, and the call they make there.
type clientDoor struct {
	Name, Path string
	SSE        bool                             // the transport of 2024-11-05
	Modern     bool                             // every server behind it speaks 2026-07-28
	Servers    []string                         // behind it
	Shown      func(server, tool string) string // name under which it shows a tool of a server; empty: it doesn't
	Server     string                           // whose tool is called
	Tool       string                           // as that server calls it
}

// tool is the called one as the endpoint shows it.
func (d *clientDoor) tool() string { return d.Shown(d.Server, d.Tool) }

func plainName(_, tool string) string { return tool }

func prefixedName(server, tool string) string { return server + "-" + tool }

// inToolset shows just the named tools of servers.
func inToolset(names map[string]string) func(server, tool string) string {
	return func(server, tool string) string { return names[server+" "+tool] }
}

// clientDoors are the endpoints of the journey. Whatever mixes in npmServer has no revision above 2025-11-25.
func clientDoors() []clientDoor {
	all, mixed := []string{npmServer, second, stateful, stateless}, []string{npmServer, stateless}
	picked := inToolset(map[string]string{npmServer + " echo": "say_back", stateless + " test_simple_text": "test_simple_text"})
	fresh := inToolset(map[string]string{stateless + " test_simple_text": "plain_text", second + " test_simple_text": "test_simple_text"})
	return []clientDoor{
		{Name: "single", Path: "/" + npmServer + "/mcp", Servers: []string{npmServer}, Shown: plainName, Server: npmServer, Tool: "echo"},
		{Name: "single_modern", Path: "/" + stateless + "/mcp", Modern: true, Servers: []string{stateless}, Shown: plainName, Server: stateless,
			Tool: "test_simple_text"},
		{Name: "aggregate", Path: "/mcp", Servers: all, Shown: prefixedName, Server: npmServer, Tool: "echo"},
		{Name: "group", Path: "/mixed/mcp", Servers: mixed, Shown: prefixedName, Server: stateless, Tool: "test_simple_text"},
		{Name: "toolset", Path: "/toolset/picked/mcp", Servers: mixed, Shown: picked, Server: npmServer, Tool: "echo"},
		{Name: "toolset_by_name", Path: "/picked/mcp", Servers: mixed, Shown: picked, Server: stateless, Tool: "test_simple_text"},
		{Name: "toolset_modern", Path: "/fresh/mcp", Modern: true, Servers: []string{second, stateless}, Shown: fresh, Server: stateless, Tool: "test_simple_text"},
		{Name: "sse_single", Path: "/" + npmServer + "/sse", SSE: true, Servers: []string{npmServer}, Shown: plainName, Server: npmServer, Tool: "echo"},
		{Name: "sse_aggregate", Path: "/mcp/sse", SSE: true, Servers: all, Shown: prefixedName, Server: npmServer, Tool: "echo"},
		{Name: "sse_toolset", Path: "/picked/sse", SSE: true, Servers: mixed, Shown: picked, Server: npmServer, Tool: "echo"},
	}
}

// clientToolsets are the groups and toolsets of the doors.
const clientToolsets = `kind: Toolset
name: picked
spec:
  tools:
  - {server: npm_everything, tool: echo, name: say_back, description: Says it back}
  - {server: sdk_stateless, tool: test_simple_text}
---
kind: Toolset
name: fresh
spec:
  tools:
  - {server: sdk_stateless, tool: test_simple_text, name: plain_text}
  - {server: sdk_second, tool: test_simple_text}
---
`

// clientBed is a gateway before real servers, each with a tap in front that notes what comes.
type clientBed struct {
	*proxy
	control *control
	tools   map[string][]string // by server: what a client gets directly

	mu     sync.Mutex
	tapped []tapped // guarded by mu
	table  []string // guarded by mu; what each visit came to
}

// tapped is one message as a server received it.
type tapped struct {
	Server, Method, Tool, Revision, Body string
}

// startClientBed starts everything once, with a key for each visit.
func startClientBed(t *testing.T, visits []*clientVisit) *clientBed {
	t.Helper()
	b := &clientBed{control: startControl(t, "control", nil), tools: map[string][]string{}}
	real := map[string]string{npmServer: npmEverything(t), stateful: sdkEverything(t, false, ownHost()+":3001"),
		stateless: sdkEverything(t, true, ownHost()+":3001"), second: sdkEverything(t, true, ownHost()+":3001")}
	b.proxy = startProxy(t, "proxy", nil, []*control{b.control}, "--log-format", "json")
	yaml := ""
	for name, at := range real {
		b.tools[name] = directTools(t, at)
		doc := server(name, b.tap(t, name, at))
		if name == npmServer || name == stateless {
			doc = strings.Replace(doc, "spec:\n", "spec:\n  access_groups: [mixed]\n", 1)
		}
		yaml += doc
	}
	yaml += clientToolsets
	for _, v := range visits {
		sum := sha256.Sum256([]byte(v.Key))
		yaml += fmt.Sprintf("kind: ApiKey\nname: %s\nspec: {sha256: %s, servers: [\"*\"]}\n---\n", v.Caller, hex.EncodeToString(sum[:]))
		v.bed = b
	}
	b.control.apply(t, yaml)
	return b
}

// directTools lists the tools of a server without the gateway.
func directTools(t *testing.T, at string) []string {
	t.Helper()
	args := []string{node(t), npm(t, ".bin", "mcp-inspector"), "--cli", at, "--transport", "http", "--protocol-era", "legacy", "--method", "tools/list",
		"--quiet", "--format", "json", "--stored-auth-only"}
	return inspectedTools(t, must(t, clientLimit, program{Name: "inspector", Args: args}, ""))
}

func inspectedTools(t *testing.T, out string) []string {
	t.Helper()
	var m struct {
		Result struct{ Tools []namedTool }
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return toolNames(m.Result.Tools)
}

type namedTool struct{ Name string }

func toolNames(tools []namedTool) []string {
	names := []string{}
	for _, x := range tools {
		names = append(names, x.Name)
	}
	return names
}

// tap passes everything on to a server, byte by byte as it comes, and notes the messages.
func (b *clientBed) tap(t *testing.T, server, at string) string {
	t.Helper()
	to, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		b.note(t, server, r, body)
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL + to.Path
}

func (b *clientBed) note(t *testing.T, server string, r *http.Request, body []byte) {
	for name, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), "sk-clients-") {
			t.Errorf("%s got a caller's key in %s", server, name)
		}
	}
	var m struct {
		Method string
		Params struct{ Name string }
	}
	if r.Method != http.MethodPost || json.Unmarshal(body, &m) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tapped = append(b.tapped, tapped{server, m.Method, m.Params.Name, r.Header.Get("Mcp-Protocol-Version"), string(body)})
}

// received returns the tool calls of servers that hold a text.
func (b *clientBed) received(text string) []tapped {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := []tapped{}
	for _, m := range b.tapped {
		if m.Method == "tools/call" && strings.Contains(m.Body, text) {
			calls = append(calls, m)
		}
	}
	return calls
}

// clientLine is an access line.
type clientLine struct {
	Path, Method, Server, Tool, Revision, Outcome, Caller string
	HTTP                                                  string `json:"http_method"`
	Status                                                int
	LegsFailed                                            int `json:"legs_failed"`
}

// lines returns the access lines of a caller, oldest first.
func (b *clientBed) lines(caller string) []clientLine {
	all := []clientLine{}
	for raw := range strings.Lines(b.output()) {
		if !strings.Contains(raw, `"`+caller+`"`) {
			continue
		}
		var l clientLine
		if json.Unmarshal([]byte(raw), &l) == nil && l.Caller == caller && l.Path != "" {
			all = append(all, l)
		}
	}
	return all
}

// awaitLine returns the first access line of a caller that fits; lines are written a moment after answers.
func (b *clientBed) awaitLine(t *testing.T, caller, what string, fits func(l clientLine) bool) clientLine {
	t.Helper()
	var found clientLine
	eventually(t, 10*time.Second, "an access line: "+what, func() error {
		all := b.lines(caller)
		i := slices.IndexFunc(all, fits)
		if i < 0 {
			return fmt.Errorf("lines of %s: %+v", caller, all)
		}
		found = all[i]
		return nil
	})
	return found
}
