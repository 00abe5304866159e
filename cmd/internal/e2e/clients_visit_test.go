//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientKind is a real client.
type clientKind struct {
	Name string
	// Revision it asks for, of those with a handshake.
	Revision string
	// Prefers2026: it tries 2026-07-28 first and falls back by itself.
	Prefers2026 bool
	// NoSSE: it doesn't speak the transport of 2024-11-05.
	NoSSE bool
	// Doors it visits; nil: all.
	Doors []string
	// Last is the method by which its visit is known to have come through; empty: it calls a tool.
	Last string
	// Use lets it connect, list and call at one endpoint.
	Use func(t *testing.T, v *clientVisit) clientSaid
	// Together does it at several endpoints with one process, in place of Use.
	Together func(t *testing.T, visits []*clientVisit) []clientSaid
}

// clientSaid is what a client printed, and what it said to a model.
type clientSaid struct {
	Tools  []string // nil: it doesn't tell; who calls has to
	Result string   // of the call
	Text   string   // for people who look for what went wrong
}

// clientVisit is one client at one endpoint, with a key of its own.
type clientVisit struct {
	clientKind
	clientDoor
	Key, Caller string
	bed         *clientBed
}

func newClientVisit(k clientKind, d clientDoor) *clientVisit {
	caller := strings.ReplaceAll(k.Name+"-"+d.Name, " ", "-")
	return &clientVisit{clientKind: k, clientDoor: d, Caller: caller, Key: "sk-clients-" + caller + "-0123456789abcdef"}
}

// Address of the endpoint.
func (v *clientVisit) Address() string { return "http://" + v.bed.Listen + v.Path }

// Header is what opens it, as clients want it in their files.
func (v *clientVisit) Header() map[string]string {
	return map[string]string{"x-litellm-api-key": "Bearer " + v.Key}
}

// HeaderLine is the same as they want it on command lines.
func (v *clientVisit) HeaderLine() string { return "x-litellm-api-key: Bearer " + v.Key }

// Message is the argument of the call, by which servers' taps know whose it is. Tools without arguments get it as well.
func (v *clientVisit) Message() string { return "from " + v.Caller + "." }

// Arguments of the call.
func (v *clientVisit) Arguments() map[string]any { return map[string]any{"message": v.Message()} }

// Answer is the text of the result.
func (v *clientVisit) Answer() string {
	if v.Tool == "echo" {
		return "Echo: " + v.Message()
	}
	return "This is a simple text response for testing."
}

// byCapability are the tools that npmServer has only for clients with certain capabilities.
var byCapability = []string{"get-roots-list", "trigger-sampling-request", "trigger-sampling-request-async", "trigger-elicitation-request",
	"trigger-elicitation-request-async", "trigger-url-elicitation"}

// expected returns the tools that the endpoint must show, and those it may show beside them.
func (v *clientVisit) expected() (tools, beside []string) {
	add := func(to []string, server, tool string) []string {
		if shown := v.Shown(server, tool); shown != "" {
			to = append(to, shown)
		}
		return to
	}
	for _, s := range v.Servers {
		for _, tool := range v.bed.tools[s] {
			if tool == transient || s == npmServer && slices.Contains(byCapability, tool) {
				continue
			}
			tools = add(tools, s, tool)
		}
		beside = add(beside, s, transient)
		for _, tool := range byCapability {
			if s == npmServer {
				beside = add(beside, s, tool)
			}
		}
	}
	return tools, beside
}

// run lets the client do its visit and compares what it says with what servers and the gateway say.
func (v *clientVisit) run(t *testing.T) {
	began := time.Now()
	said := v.Use(t, v)
	v.check(t, said, time.Since(began))
}

// runTogether is run for visits of one process.
func runTogether(t *testing.T, k clientKind, visits []*clientVisit) {
	began := time.Now()
	said := k.Together(t, visits)
	took := time.Since(began) / time.Duration(len(visits))
	for i, v := range visits {
		t.Run(v.clientDoor.Name, func(t *testing.T) { v.check(t, said[i], took) })
	}
}

func (v *clientVisit) check(t *testing.T, said clientSaid, took time.Duration) {
	called := v.Last == ""
	if called || said.Tools != nil {
		v.checkTools(t, said)
	}
	calls := v.bed.received(v.Message())
	if called {
		v.checkCall(t, said, calls)
	}
	revision := v.checkLines(t, called)
	upstream := "-"
	if len(calls) > 0 {
		upstream = calls[0].Revision
	}
	v.bed.mu.Lock()
	defer v.bed.mu.Unlock()
	v.bed.table = append(v.bed.table, fmt.Sprintf("| %s | %s | %s | %d | %s | %s |", v.clientKind.Name, v.Path, revision, len(said.Tools), upstream,
		took.Round(10*time.Millisecond)))
}

func (v *clientVisit) checkTools(t *testing.T, said clientSaid) {
	t.Helper()
	tools, beside := v.expected()
	missing := slices.DeleteFunc(slices.Clone(tools), func(n string) bool { return slices.Contains(said.Tools, n) })
	odd := slices.DeleteFunc(slices.Clone(said.Tools), func(n string) bool { return slices.Contains(tools, n) || slices.Contains(beside, n) })
	if len(missing)+len(odd) > 0 || len(tools) == 0 {
		t.Errorf("%d tools are expected, %d were shown: %q are missing, %q are odd\n%s", len(tools), len(said.Tools), missing, odd, tail(said.Text, 20))
	}
}

func (v *clientVisit) checkCall(t *testing.T, said clientSaid, calls []tapped) {
	t.Helper()
	if !strings.Contains(said.Result, v.Answer()) {
		t.Errorf("the result is %s, without %q", said.Result, v.Answer())
	}
	if len(calls) != 1 || calls[0].Server != v.Server || calls[0].Tool != v.Tool {
		t.Errorf("servers received %+v, not one call of %s at %s", calls, v.Tool, v.Server)
	}
}

// checkLines reads what the gateway's records say about the visit, and returns the negotiated revision.
func (v *clientVisit) checkLines(t *testing.T, called bool) string {
	t.Helper()
	last, door := v.Last, strings.TrimSuffix(v.Path, "/sse")
	if called {
		last = "tools/call"
	}
	if door != "/mcp" {
		door = strings.TrimSuffix(door, "/mcp") + "/mcp"
	}
	l := v.bed.awaitLine(t, v.Caller, last+" at "+door, func(l clientLine) bool { return l.Method == last && l.Path == door })
	if l.Status != http.StatusOK || l.Outcome != "ok" || l.LegsFailed > 0 || called && (l.Server != v.Server || l.Tool != v.Tool) {
		t.Errorf("the access line of the last step is %+v", l)
	}
	if v.SSE {
		v.bed.awaitLine(t, v.Caller, "the stream of "+v.Path, func(l clientLine) bool {
			return l.HTTP == http.MethodGet && l.Path == v.Path && l.Status == http.StatusOK
		})
	}
	want := v.Revision
	if v.Prefers2026 {
		want = v.fallsBack(t, want)
	}
	hello := v.bed.awaitLine(t, v.Caller, "a revision", func(l clientLine) bool {
		return l.Revision != "" && l.Status == http.StatusOK && slices.Contains([]string{"initialize", "server/discover"}, l.Method)
	})
	if hello.Revision != want || l.Revision != "" && l.Revision != want {
		t.Errorf("%s with revision %q, %s with %q; %q is expected", hello.Method, hello.Revision, l.Method, l.Revision, want)
	}
	for _, x := range v.bed.lines(v.Caller) {
		if x.Status >= http.StatusInternalServerError {
			t.Errorf("a fault of the server's kind: %+v", x)
		}
	}
	return hello.Revision
}

// fallsBack checks that the client asks for 2026-07-28 first, stays there where every server speaks it, and goes back by itself elsewhere.
func (v *clientVisit) fallsBack(t *testing.T, handshake string) string {
	t.Helper()
	if v.SSE {
		return handshake
	}
	all := v.bed.lines(v.Caller)
	has := func(method string) bool {
		return slices.ContainsFunc(all, func(l clientLine) bool { return l.Method == method })
	}
	if !has("server/discover") || has("initialize") == v.Modern {
		t.Errorf("it should discover, and initialize only where it has to (modern endpoint: %v): %+v", v.Modern, all)
	}
	if v.Modern {
		return "2026-07-28"
	}
	return handshake
}
