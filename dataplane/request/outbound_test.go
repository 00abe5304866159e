package request_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// everything a client might send along; none of it may travel by accident.
var luggage = []string{
	"X-Hopgate-Api-Key", alice, "Authorization", "Bearer upstream-token", "Cookie", "session=1", "Proxy-Authorization", "Basic x", "X-Api-Key", "k",
	"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil.example", "Forwarded", "for=1.2.3.4", "X-Real-Ip", "1.2.3.4", "Via", "1.1 x",
	"Origin", "http://localhost:6274", "Referer", "http://localhost/", "User-Agent", "spy/1", "Accept-Language", "de", "Accept-Encoding", "gzip, br",
	"X-Mcp-Servers", "up", "X-Mcp-Up-Authorization", "Bearer y", "X-Litellm-End-User-Id", "u", "Baggage", "a=b", "Te", "trailers", "Range", "bytes=0-1",
	"If-None-Match", `"x"`, "X-Custom", "1", "Mcp-Method", "tools/call", "Mcp-Name", "x", "Mcp-Param-X", "1", "Mcp-Odd", "1", "Content-Language", "de", "Tracestate", "a=b",
	"X-B3-TraceId", "1", "Uber-Trace-Id", "1", "X-Litellm-Mcp-Debug", "true",
}

// The upstream sees exactly these headers and no other.
func TestOutboundRequestsAreBuiltFromNothing(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL+"?tenant=7"))
	base := []string{"Accept", "Content-Length", "Content-Type", "Traceparent", "User-Agent"}
	for _, c := range []struct {
		name, method, body string
		heads              []string
		want               []string
	}{
		{"legacy call", http.MethodPost, list, []string{"Mcp-Protocol-Version", "2025-11-25"}, append(base, "Mcp-Protocol-Version")},
		{"initialize", http.MethodPost, hello, []string{"Last-Event-Id", "3"}, base},
		{"initialize with a version nobody knows", http.MethodPost, hello, []string{"Mcp-Protocol-Version", "x"}, base},
		{"notification", http.MethodPost, ready, []string{"Mcp-Protocol-Version", "2025-06-18"}, append(base, "Mcp-Protocol-Version")},
		{"modern call", http.MethodPost, modernCall("tools/call", `"name":"x"`), []string{"Mcp-Protocol-Version", "2026-07-28"}, append(base, "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-X")},
		{"GET", http.MethodGet, "", []string{"Mcp-Protocol-Version", "2025-11-25", "Last-Event-Id", "9-1"}, []string{"Accept", "Traceparent", "User-Agent", "Mcp-Protocol-Version"}},
		{"DELETE", http.MethodDelete, "", []string{"Mcp-Protocol-Version", "2025-11-25"}, []string{"Traceparent", "User-Agent", "Mcp-Protocol-Version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(up.Seen())
			a := g.send(t, c.method, "/up/mcp?secret=query", c.body, append(append([]string{}, luggage...), c.heads...)...)
			if len(up.Seen()) != before+1 {
				t.Fatalf("%d requests went out: %d %s", len(up.Seen())-before, a.status, a.body)
			}
			s := up.Seen()[before]
			got := slices.Sorted(maps.Keys(s.Header))
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("the upstream saw %q, want %q", got, c.want)
			}
			for k, v := range s.Header {
				if len(v) != 1 {
					t.Errorf("%s came %d times", k, len(v))
				}
			}
			if s.Header.Get("User-Agent") != "hopgate/test" || s.Path != "/mcp?tenant=7" || "http://"+s.Host+"/mcp" != up.URL {
				t.Errorf("got %v %s %s", s.Header, s.Host, s.Path)
			}
			if accept := s.Header.Get("Accept"); accept != map[string]string{"POST": "application/json, text/event-stream", "GET": "text/event-stream"}[c.method] {
				t.Errorf("Accept %q", accept)
			}
		})
	}
}

// The caller sees none of the upstream's headers but those the gateway passes on knowingly.
func TestInboundAnswersAreBuiltFromNothing(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, k := range []string{"Set-Cookie", "Server", "X-Powered-By", "Www-Authenticate", "Location", "Access-Control-Allow-Origin", "X-Hopgate-Error", "X-Hopgate-Trace-Id", "Link", "Etag", "Mcp-Session-Id"} {
			h.Set(k, "upstream-header")
		}
		h.Set("Retry-After", "7")
		m := mcptest.Read(r)
		if m.Method == "tools/call" {
			mcptest.Refuse(w, m, 429, -32000, "null")
			return
		}
		mcptest.Result(w, m, `{"tools":[]}`)
	}))
	g := start(t, one(up.URL))
	for body, want := range map[string][]string{
		list: {"Content-Length", "Content-Type", "Date", "X-Hopgate-Trace-Id"},
		ask:  {"Content-Length", "Content-Type", "Date", "Retry-After", "X-Hopgate-Error", "X-Hopgate-Trace-Id"},
	} {
		a := g.send(t, http.MethodPost, "/up/mcp", body, legacy...)
		if got := slices.Sorted(maps.Keys(a.header)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for k, v := range a.header {
			if strings.Contains(v[0], "upstream-header") {
				t.Errorf("%s came through: %q", k, v)
			}
		}
	}
}
