package request_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	headerTrace = "00-11111111111111111111111111111111-2222222222222222-01"
	metaTrace   = "00-33333333333333333333333333333333-4444444444444444-01"
	unsampled   = "00-55555555555555555555555555555555-6666666666666666-00"
)

// foreign are the ids above.
var foreign = regexp.MustCompile(`^(1111|2222|3333|4444|5555|6666)`)

const echo = `{"jsonrpc":"2.0","id":"a-7","method":"tools/call","params":{"name":"echo","arguments":{}}}`

func withMeta(body, members string) string {
	return strings.Replace(body, `"params":{`, `"params":{"_meta":{`+members+`},`, 1)
}

// One sampled call is a tree: the caller's leg, admission, routing, the upstream's leg with its phases.
func TestACallIsATree(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.ratio = "1"
	g := start(t, s)
	a := g.send(t, http.MethodPost, "/up/mcp", echo, legacy...)
	root := tree(g.spans.GetSpans())
	if root.String() != "server tools/call echo [internal auth, internal route, client tools/call echo]" || root.id != a.header.Get("X-Hopgate-Trace-Id") {
		t.Fatalf("%s of %s", root, root.id)
	}
	for k, want := range map[string]string{"mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "jsonrpc.request.id": "a-7", "mcp.protocol.version": "2025-11-25",
		"hopgate.hop": "client", "hopgate.server": "up", "hopgate.caller": "alice", "hopgate.config.revision": "7", "http.response.status_code": "200"} {
		if got := root.attributes[k]; got != want {
			t.Errorf("SERVER %s is %q, want %q", k, got, want)
		}
	}
	call := root.child("tools/call echo")
	var events []string
	for _, e := range call.span.Events {
		events = append(events, e.Name)
	}
	if call.attributes["hopgate.hop"] != "upstream" || strings.Join(events, ", ") != "connect, request sent, headers, first event, end" {
		t.Errorf("CLIENT %v, events %q", call.attributes, events)
	}
	same(t, "upstream's parent", []string{up.Seen()[0].Header.Get("Traceparent")}, []string{"00-" + root.id + "-" + call.span.SpanContext.SpanID().String() + "-01"})
}

// A failed call bears its fault on the leg that failed, although nobody sampled it.
func TestFailedCallsAreTraced(t *testing.T) {
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"refused": server(mcptest.RefusedURL(t)), "tool": server(mcptest.Start(t, mcptest.Status(200, "application/json", `{"jsonrpc":"2.0","id":"a-7","result":{"content":[],"isError":true}}`)).URL)}})
	g.send(t, http.MethodPost, "/refused/mcp", echo, legacy...)
	root := tree(g.spans.GetSpans())
	call := root.child("tools/call echo")
	if call == nil || call.failed == "" || root.failed == "" || call.attributes["error.type"] != "refused" || root.attributes["hopgate.phase"] != "connect" {
		t.Errorf("%s: %+v", root, root)
	}
	g.spans.Reset()
	g.send(t, http.MethodPost, "/nope/mcp", echo, legacy...)
	if root := tree(g.spans.GetSpans()); root.child("route") == nil || root.child("route").failed == "" {
		t.Errorf("%s", root)
	}
	g.spans.Reset()
	g.send(t, http.MethodPost, "/refused/mcp", echo, append([]string{"X-Litellm-Api-Key", "sk-unknown-key-000000"}, legacy...)...)
	if root := tree(g.spans.GetSpans()); root.child("auth") == nil || root.child("auth").failed == "" {
		t.Errorf("%s", root)
	}
	g.spans.Reset()
	if a := g.send(t, http.MethodPost, "/tool/mcp", echo, legacy...); a.header.Get("X-Hopgate-Error") != "" || len(g.spans.GetSpans()) != 0 {
		t.Errorf("a tool's failure is the caller's business: %v", a.header)
	}
	if !regexp.MustCompile(`mcp_server_operation_duration_seconds\{[^}]*="tool_error"`).MatchString(g.metrics(t)) {
		t.Errorf("it isn't counted: %s", g.metrics(t))
	}
}

// Whose trace a call belongs to: _meta before the header, and only of callers who may say so.
func TestTraceContextOfCallers(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"other": server(up.URL)}})
	meta := withMeta(echo, `"traceparent":"`+metaTrace+`","tracestate":"m=1","keep":9007199254740993`)
	for _, c := range []struct {
		name, key, body string
		header          string
		trace, link     string // of the spans; "" is a fresh trace, or no link
		state           string // what travels on
		exported        bool
	}{
		{"trusted header", alice, echo, headerTrace, "1111", "", "h=1", true},
		{"trusted _meta", alice, meta, "", "3333", "", "m=1", true},
		{"trusted both", alice, meta, headerTrace, "3333", "1111", "m=1", true},
		{"trusted and not sampled", alice, echo, unsampled, "5555", "", "h=1", false},
		{"trusted nonsense", alice, echo, "00-nonsense", "", "", "", false},
		{"untrusted header", bob, echo, headerTrace, "", "1111", "", false},
		{"untrusted _meta", bob, meta, "", "", "3333", "", false},
		{"untrusted both", bob, meta, headerTrace, "", "3333", "", false},
		{"nothing", alice, echo, "", "", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.spans.Reset()
			before := len(up.Seen())
			state := ""
			if c.header != "" {
				state = "h=1"
			}
			a := g.send(t, http.MethodPost, "/other/mcp", c.body, append([]string{"X-Litellm-Api-Key", c.key, "Traceparent", c.header, "Tracestate", state}, legacy...)...)
			seen := up.Seen()[before]
			out, id := seen.Header.Get("Traceparent"), a.header.Get("X-Hopgate-Trace-Id")
			if len(out) != 55 || out[3:35] != id || !strings.HasPrefix(id, c.trace) || c.trace == "" && foreign.MatchString(id) || foreign.MatchString(out[36:52]) {
				t.Errorf("trace %s, traceparent %s", id, out)
			}
			if got := seen.Header.Get("Tracestate"); got != c.state {
				t.Errorf("tracestate %q, want %q", got, c.state)
			}
			if !strings.Contains(string(seen.Body), `"traceparent":"`+out+`"`) || strings.Count(string(seen.Body), "traceparent") != 1 {
				t.Errorf("body %s", seen.Body)
			}
			if strings.Contains(c.body, "keep") && (!strings.Contains(string(seen.Body), `"tracestate":"`+c.state+`"`) || !strings.Contains(string(seen.Body), `"keep":9007199254740993`)) {
				t.Errorf("body %s", seen.Body)
			}
			if exported := len(g.spans.GetSpans()) > 0; exported != c.exported {
				t.Errorf("exported: %v", exported)
			}
			if c.exported {
				checkLinks(t, tree(g.spans.GetSpans()).span.Links, c.link)
			}
		})
	}
	// A link shows when the call is exported for another reason.
	g.holder.Store(compiled(t, settings{ratio: "1", servers: map[string]*configv1.ServerSpec{"other": server(up.URL)}}))
	g.spans.Reset()
	g.send(t, http.MethodPost, "/other/mcp", echo, append([]string{"X-Litellm-Api-Key", bob, "Traceparent", headerTrace}, legacy...)...)
	root := tree(g.spans.GetSpans())
	if links := root.span.Links; len(links) != 1 || !strings.HasPrefix(links[0].SpanContext.TraceID().String(), "1111") || root.span.Parent.IsValid() {
		t.Errorf("%+v", root.span)
	}
}

// Refused requests belong to their caller's trace as well.
func TestFaultsBelongToTheCallersTrace(t *testing.T) {
	g := start(t, one("http://127.0.0.1:1/mcp"))
	for _, path := range []string{"/nope/mcp", "/up/mcp"} {
		a := g.send(t, http.MethodPost, path, echo, append([]string{"Traceparent", headerTrace}, legacy...)...)
		if got := a.header.Get("X-Hopgate-Trace-Id"); got != headerTrace[3:35] || !strings.Contains(a.body, got) {
			t.Errorf("%s: %s %s", path, got, a.body)
		}
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", echo, "X-Litellm-Api-Key", "", "Traceparent", headerTrace); a.header.Get("X-Hopgate-Trace-Id") == headerTrace[3:35] {
		t.Error("a stranger's context was taken over")
	}
}

func checkLinks(t *testing.T, links []sdktrace.Link, want string) {
	t.Helper()
	if len(links) > 0 != (want != "") || want != "" && !strings.HasPrefix(links[0].SpanContext.TraceID().String(), want) {
		t.Errorf("links %+v, want %q", links, want)
	}
}
