package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// legacy are the headers of a client of the handshake revisions.
var legacy = []string{"Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream"}

// Each cause shows the same hop, phase and kind on every face: status, JSON-RPC error, header, log line, metric and span.
func TestEveryCauseIsToldAlikeOnEveryFace(t *testing.T) {
	quick := &configv1.Timeouts{Connect: "300ms", FirstByte: "300ms", Idle: "300ms"}
	up := func(h http.Handler) *configv1.ServerSpec {
		s := server(mcptest.Start(t, h).URL)
		s.Timeouts = quick
		return s
	}
	refused, dns, blackhole := server(mcptest.RefusedURL(t)), server("http://no-such-name.invalid/mcp"), server("https://"+strings.TrimPrefix(mcptest.Start(t, mcptest.Stateless()).URL, "http://"))
	dns.Timeouts = &configv1.Timeouts{Connect: "3s"}
	g := start(t, settings{limits: &configv1.Limits{Body: "1KiB"}, servers: map[string]*configv1.ServerSpec{
		"ok": up(mcptest.Stateless()), "refused": refused, "dns": dns, "tls": blackhole,
		"page": up(mcptest.Page(200)), "redirect": up(mcptest.Redirect("http://example.invalid/")), "bad_gateway": up(mcptest.Page(502)),
		"denies": up(mcptest.Status(403, "text/plain", "no")), "broken": up(mcptest.Status(500, "text/plain", "oops")), "limited": up(mcptest.Status(429, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"slow down"}}`)),
		"not_mcp": up(mcptest.Status(200, "application/json", `{"hello":"world"}`)), "plain": up(mcptest.Status(200, "text/plain", "hello")),
		"silent": up(mcptest.Silent()), "stalls": up(mcptest.Stalls()), "cut": up(mcptest.Cut(false)), "stateful": up(&mcptest.Stateful{}),
	}})
	for _, c := range []struct {
		name, path, body string
		heads            []string
		status           int
		hop, phase, kind string
	}{
		{"bad key", "/ok/mcp", list, []string{"X-Litellm-Api-Key", "Bearer sk-wrong-0123456789"}, 401, "client", "auth", "unauthenticated"},
		{"no key", "/ok/mcp", list, []string{"X-Litellm-Api-Key", ""}, 401, "client", "auth", "unauthenticated"},
		{"unknown name", "/nope/mcp", list, nil, 404, "gateway", "route", "not_found"},
		{"not granted", "/ok/mcp", list, []string{"X-Litellm-Api-Key", "Bearer " + bob}, 404, "gateway", "route", "not_found"},
		{"oversize", "/ok/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"` + strings.Repeat("a", 2000) + `"}}`, nil, 413, "client", "limit", "too_large"},
		{"malformed", "/ok/mcp", `{"jsonrpc":"2.0","id":1,`, nil, 400, "client", "request", "malformed"},
		{"refused", "/refused/mcp", list, nil, 502, "upstream", "connect", "refused"},
		{"dns", "/dns/mcp", list, nil, 502, "upstream", "dns", "not_found"},
		{"tls", "/tls/mcp", list, nil, 502, "upstream", "tls", "malformed"},
		{"page", "/page/mcp", list, nil, 502, "upstream", "intermediary", "mismatch"},
		{"redirect", "/redirect/mcp", list, nil, 502, "upstream", "intermediary", "mismatch"},
		{"bad gateway", "/bad_gateway/mcp", list, nil, 502, "upstream", "intermediary", "unavailable"},
		{"upstream 403", "/denies/mcp", list, nil, 502, "upstream", "headers", "denied"},
		{"upstream 500", "/broken/mcp", list, nil, 502, "upstream", "headers", "internal"},
		{"upstream 429 in JSON-RPC", "/limited/mcp", list, nil, 429, "upstream", "headers", "exhausted"},
		{"not MCP", "/not_mcp/mcp", list, nil, 502, "upstream", "protocol", "malformed"},
		{"not even JSON", "/plain/mcp", list, nil, 502, "upstream", "protocol", "malformed"},
		{"first byte", "/silent/mcp", list, nil, 504, "upstream", "headers", "timed_out"},
		{"session of nobody", "/stateful/mcp", list, []string{"Mcp-Session-Id", "made-up"}, 404, "client", "session", "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.spans.Reset()
			a := g.send(t, http.MethodPost, c.path, c.body, append(append([]string{}, legacy...), c.heads...)...)
			if a.status != c.status {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			want := "hop=" + c.hop + "; phase=" + c.phase + "; kind=" + c.kind
			if got := a.header.Get("X-Hopgate-Error"); !strings.HasPrefix(got, want) {
				t.Errorf("x-hopgate-error %q, want %q", got, want)
			}
			if !strings.Contains(c.name, "JSON-RPC") && !strings.Contains(a.body, `"hop":"`+c.hop+`","phase":"`+c.phase+`","kind":"`+c.kind+`"`) {
				t.Errorf("body %s", a.body)
			}
			if strings.Contains(a.body, "secret-of-the-page") {
				t.Errorf("the answer shows the page: %s", a.body)
			}
			g.tellsAlike(t, a, c.hop, c.phase, c.kind)
		})
	}
}

// tellsAlike looks at what operators see: span, metric, error line.
func (g *gateway) tellsAlike(t *testing.T, a answer, hop, phase, kind string) {
	t.Helper()
	traceID, found := a.header.Get("X-Hopgate-Trace-Id"), false
	for _, s := range g.spans.GetSpans() {
		if s.SpanContext.TraceID().String() != traceID {
			continue
		}
		m := map[string]string{}
		for _, kv := range s.Attributes {
			m[string(kv.Key)] = kv.Value.String()
		}
		found = found || m["error.type"] != "" && m["hopgate.hop"] == hop && m["hopgate.phase"] == phase
	}
	if !found {
		t.Errorf("no span of trace %s names %s/%s: %+v", traceID, hop, phase, g.spans.GetSpans())
	}
	families, err := g.reg.Gather()
	fatal(t, err)
	counted := false
	for _, f := range families {
		if f.GetName() != "hopgate_faults_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			l := map[string]string{}
			for _, p := range m.GetLabel() {
				l[p.GetName()] = p.GetValue()
			}
			counted = counted || l["hop"] == hop && l["phase"] == phase && l["kind"] == kind
		}
	}
	if !counted {
		t.Errorf("hopgate_faults_total has no %s/%s/%s", hop, phase, kind)
	}
	if log := g.log.String(); !strings.Contains(log, hop+"/"+phase+"/"+kind) {
		t.Errorf("no log line names %s/%s/%s:\n%s", hop, phase, kind, log)
	}
}

// A stream that breaks after its head ends with the fault as the request's answer, and a resumable one breaks.
func TestLateFaultsReachTheCaller(t *testing.T) {
	stalls := server(mcptest.Start(t, mcptest.Stalls()).URL)
	stalls.Timeouts = &configv1.Timeouts{Idle: "200ms"}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{
		"stalls": stalls, "cut": server(mcptest.Start(t, mcptest.Cut(false)).URL), "resumable": server(mcptest.Start(t, mcptest.Cut(true)).URL),
		"short": server(mcptest.Start(t, mcptest.CutBody(1<<20)).URL),
	}})
	for _, c := range []struct{ name, want string }{
		{"stalls", `"hop":"upstream","phase":"stream","kind":"timed_out"`},
		{"cut", `"hop":"upstream","phase":"stream","kind":"reset"`},
	} {
		a := g.send(t, http.MethodPost, "/"+c.name+"/mcp", list, legacy...)
		if a.status != 200 || !strings.Contains(a.body, `"data":"working"`) || !strings.Contains(a.body, c.want) || !strings.Contains(a.body, `"id":1`) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	for _, name := range []string{"resumable", "short"} {
		if a := g.send(t, http.MethodPost, "/"+name+"/mcp", list, legacy...); !strings.Contains(a.body, "(body: ") {
			t.Errorf("%s: the caller saw a complete answer: %d %.200s", name, a.status, a.body)
		}
	}
}
