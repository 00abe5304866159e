package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modernCall is a request of 2026-07-28; params are raw members beside _meta.
func modernCall(method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + modernMeta + `}}`
}

func modernHeads(method, name string, more ...string) []string {
	return append([]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method, "Mcp-Name", name, "Accept", "application/json, text/event-stream"}, more...)
}

func TestModernHeadersMustAgreeWithTheBody(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	call := modernCall("tools/call", `"name":"wetter-köln"`)
	encoded := "=?base64?d2V0dGVyLWvDtmxu?="
	for _, c := range []struct {
		name, body string
		heads      []string
		status     int
		code       string
	}{
		{"as it should be", call, modernHeads("tools/call", encoded), 200, ""},
		{"discovery", modernCall("server/discover", ""), modernHeads("server/discover", ""), 200, ""},
		{"list", modernCall("tools/list", ""), modernHeads("tools/list", ""), 200, ""},
		{"version differs", call, modernHeads("tools/call", encoded, "Mcp-Protocol-Version", "2025-11-25"), 400, "-32020"},
		{"version missing", call, modernHeads("tools/call", encoded, "Mcp-Protocol-Version", ""), 400, "-32020"},
		{"version unknown", strings.Replace(call, "2026-07-28", "2099-01-01", 1), modernHeads("tools/call", encoded, "Mcp-Protocol-Version", "2099-01-01"), 400, "-32022"},
		{"method differs", call, modernHeads("TOOLS/CALL", encoded), 400, "-32020"},
		{"method missing", call, modernHeads("", encoded), 400, "-32020"},
		{"name differs", call, modernHeads("tools/call", "other"), 400, "-32020"},
		{"name missing", call, modernHeads("tools/call", ""), 400, "-32020"},
		{"name badly encoded", call, modernHeads("tools/call", "=?base64?!?="), 400, "-32020"},
		{"_meta missing", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, modernHeads("tools/list", ""), 400, "-32602"},
		{"capabilities missing", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, modernHeads("tools/list", ""), 400, "-32602"},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, modernHeads("", ""), 400, "-32600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(up.Seen())
			a := g.send(t, http.MethodPost, "/up/mcp", c.body, c.heads...)
			if a.status != c.status || c.code != "" && !strings.Contains(a.body, `"code":`+c.code) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if (len(up.Seen()) > before) != (c.status == 200) {
				t.Error("refused and sent all the same, or the other way round")
			}
		})
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", strings.Replace(call, "2026-07-28", "2099-01-01", 1), modernHeads("tools/call", encoded, "Mcp-Protocol-Version", "2099-01-01")...); !strings.Contains(a.body, `"supported":["2026-07-28"],"requested":"2099-01-01"`) {
		t.Errorf("the refusal names no versions: %s", a.body)
	}
}

func TestModernHeadersTravel(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	heads := modernHeads("tools/call", "t", "Mcp-Param-Region", "eu-west", "Mcp-Param-Note", "=?base64?w6k=?=", "Mcp-Session-Id", "ignored", "Last-Event-Id", "4")
	if a := g.send(t, http.MethodPost, "/up/mcp", modernCall("tools/call", `"name":"t"`), heads...); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	// A header that mirrors nothing in this method isn't carried on.
	if a := g.send(t, http.MethodPost, "/up/mcp", modernCall("tools/list", ""), modernHeads("tools/list", "stray")...); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	call, list := up.Seen()[0].Header, up.Seen()[1].Header
	for k, want := range map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "t", "Mcp-Param-Region": "eu-west", "Mcp-Param-Note": "=?base64?w6k=?=", "Mcp-Session-Id": "", "Last-Event-Id": ""} {
		if got := call.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if got := list["Mcp-Name"]; got != nil {
		t.Errorf("a stray name travelled: %q", got)
	}
}

// A gateway credential doesn't leave in a mirrored argument either.
func TestCredentialsDontLeaveInMirroredHeaders(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	for _, value := range []string{bob, "Bearer " + alice} {
		a := g.send(t, http.MethodPost, "/up/mcp", modernCall("tools/call", `"name":"t"`), modernHeads("tools/call", "t", "Mcp-Param-Token", value, "X-Litellm-Mcp-Debug", "true")...)
		if a.status != 403 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=gateway; phase=policy; kind=credential_leak") ||
			a.header.Get("X-Mcp-Debug-Oauth2-Token") != "SAME_AS_LITELLM_KEY - likely misconfigured" || strings.Contains(a.body, value) {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
	}
	if len(up.Seen()) != 0 {
		t.Error("it left")
	}
}

// Nor does it leave as the id of the event to resume after; and without a session no such id leaves at all.
func TestEventIDsLeaveOnlyWithinASession(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Stateful{})
	g := start(t, one(up.URL))
	session := g.send(t, http.MethodPost, "/up/mcp", hello, legacy...).header.Get("Mcp-Session-Id")
	if a := g.send(t, http.MethodGet, "/up/mcp", "", "Mcp-Session-Id", session, "Last-Event-Id", alice); session == "" || a.status != 403 {
		t.Errorf("session %q: %d %s", session, a.status, a.body)
	}
	g.send(t, http.MethodGet, "/up/mcp", "", "Last-Event-Id", "9-1")
	for _, s := range up.Seen() {
		if v := s.Header.Get("Last-Event-Id"); v != "" {
			t.Errorf("%s %q left", s.Method, v)
		}
	}
}

// Which era a server speaks is learned from the probes that clients send; a request of the other era is then refused with what is supported.
func TestMixedErasAreRefusedOnceKnown(t *testing.T) {
	oldOnly, newOnly := mcptest.Start(t, mcptest.Legacy()), mcptest.Start(t, &mcptest.Modern{})
	configured := server(oldOnly.URL)
	configured.Protocol = "legacy"
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"old": server(oldOnly.URL), "new": server(newOnly.URL), "fixed": configured}})
	modern := func(name string) answer {
		return g.send(t, http.MethodPost, "/"+name+"/mcp", modernCall("tools/list", ""), modernHeads("tools/list", "")...)
	}
	discover := func(name string) answer {
		return g.send(t, http.MethodPost, "/"+name+"/mcp", modernCall("server/discover", ""), modernHeads("server/discover", "")...)
	}
	if a := modern("old"); a.status != 200 {
		t.Errorf("nothing is known yet: %d %s", a.status, a.body)
	}
	if a := discover("old"); a.status != 200 || a.body != `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"refused","data":null}}` {
		t.Errorf("server/discover isn't relayed verbatim: %d %s", a.status, a.body)
	}
	asked := len(oldOnly.Seen())
	for _, name := range []string{"old", "fixed"} {
		a := modern(name)
		if a.status != 400 || !strings.Contains(a.body, `"code":-32022`) || !strings.Contains(a.body, `"supported":["2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"requested":"2026-07-28"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if len(oldOnly.Seen()) != asked {
		t.Error("a refused request reached the server")
	}

	if a := g.send(t, http.MethodPost, "/new/mcp", hello, legacy[2:]...); a.status != 400 || a.body != `{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"refused","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}}` {
		t.Errorf("initialize isn't relayed verbatim: %d %s", a.status, a.body)
	}
	if a := g.send(t, http.MethodPost, "/new/mcp", list, legacy...); a.status != 400 || !strings.Contains(a.body, `"supported":["2026-07-28"],"requested":"2025-11-25"`) {
		t.Errorf("legacy after learning: %d %s", a.status, a.body)
	}
	if a := modern("new"); a.status != 200 {
		t.Errorf("modern: %d %s", a.status, a.body)
	}
}

// A server whose config changed starts with a clean slate.
func TestVerdictsDontSurviveAChangeOfConfig(t *testing.T) {
	oldOnly, newOnly := mcptest.Start(t, mcptest.Legacy()), mcptest.Start(t, &mcptest.Modern{})
	g := start(t, one(oldOnly.URL))
	call := func() int {
		return g.send(t, http.MethodPost, "/up/mcp", modernCall("tools/list", ""), modernHeads("tools/list", "")...).status
	}
	g.send(t, http.MethodPost, "/up/mcp", modernCall("server/discover", ""), modernHeads("server/discover", "")...)
	if got := call(); got != 400 {
		t.Fatalf("before: %d", got)
	}
	g.holder.Store(compiled(t, one(newOnly.URL)))
	if got := call(); got != 200 {
		t.Errorf("after: %d", got)
	}
}
