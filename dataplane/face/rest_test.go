package face_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// paged has tools on two pages, and tells what it was called with.
func paged() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		params := string(m.Params)
		switch {
		case m.Method == "initialize":
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
		case len(m.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		case m.Method == "tools/list" && strings.Contains(params, `"two"`):
			mcptest.Result(w, m, `{"tools":[{"name":"secret","inputSchema":{"type":"object"}}]}`)
		case m.Method == "tools/list":
			mcptest.Result(w, m, `{"tools":[{"name":"get-sum","title":"Sum","inputSchema":{"type":"object","x":1.50}} ],"nextCursor":"two"}`)
		case strings.Contains(params, `"get-sum"`) && !strings.Contains(params, "broken"), strings.Contains(params, `"secret"`):
			mcptest.Result(w, m, `{"content":[{"type":"text","text":"3"}],"called":`+params+`}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"Unknown tool or bad arguments"}}`, m.ID)
		}
	})
}

func TestToolsAreListedPlainly(t *testing.T) {
	up := mcptest.Start(t, paged())
	s := one(up.URL)
	s.servers["other"] = mcptest.Start(t, mcptest.Stateless()).URL
	r := start(t, s)
	const sum, secret, echo = `{"name":"get-sum","title":"Sum","inputSchema":{"type":"object","x":1.50},"mcp_info":{"server_name":"up"}}`,
		`{"name":"secret","inputSchema":{"type":"object"},"mcp_info":{"server_name":"up"}}`, `{"name":"echo","inputSchema":{"type":"object"},"mcp_info":{"server_name":"other"}}`
	for _, c := range []struct{ query, key, want string }{
		{"?server_id=up", alice, sum + "," + secret},
		{"?server_id=8b6f1c1e-7a52-4c1c-9f0a-up", alice, sum + "," + secret},
		{"?server_id=up", bob, sum},
		{"?mcp_server_name=other", alice, echo},
		{"", alice, echo + "," + sum + "," + secret},
		{"", bob, sum},
		{"?mcp_server_name=up&mcp_server_name=other", alice, echo + "," + sum + "," + secret},
	} {
		want := `{"tools":[` + c.want + `],"error":null,"message":"Successfully retrieved tools"}`
		if got := r.send(t, "GET", "/mcp-rest/tools/list"+c.query, "", "X-Litellm-Api-Key", c.key); got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s\nwant %s", c.query, got.status, got.body, want)
		}
	}
}

// Red when a server that isn't open to the caller is refused by its name.
func TestAUIDDoesntTellTheName(t *testing.T) {
	s := one(mcptest.Start(t, paged()).URL)
	s.servers["other"] = mcptest.Start(t, mcptest.Stateless()).URL
	r := start(t, s)
	there := r.send(t, "GET", "/mcp-rest/tools/list?server_id=8b6f1c1e-7a52-4c1c-9f0a-other", "", "X-Litellm-Api-Key", bob)
	not := r.send(t, "GET", "/mcp-rest/tools/list?server_id=8b6f1c1e-7a52-4c1c-9f0a-nobody", "", "X-Litellm-Api-Key", bob)
	if there.status != 404 || strings.Contains(there.body, "other") || strings.Contains(there.header.Get("X-Hopgate-Error"), "other") {
		t.Errorf("%d %s %v", there.status, there.body, there.header)
	}
	if not.status != 404 || not.header.Get("X-Hopgate-Error") != there.header.Get("X-Hopgate-Error") {
		t.Errorf("one that isn't there: %d %s, %s", not.status, not.body, not.header.Get("X-Hopgate-Error"))
	}
}

// Red when each page counts for itself: a server without an end of pages would fill the memory.
func TestAListOfManyPagesIsBoundedAsAWhole(t *testing.T) {
	pages := 0
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		switch {
		case m.Method == "initialize":
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
		case len(m.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		default:
			pages++
			mcptest.Result(w, m, fmt.Sprintf(`{"tools":[{"name":"t%d","description":%q,"inputSchema":{"type":"object"}}],"nextCursor":"%d"}`,
				pages, strings.Repeat("x", 10_000), pages))
		}
	}))
	s := one(up.URL)
	s.limits = &configv1.Limits{Result: "64KiB"}
	got := start(t, s).send(t, "GET", "/mcp-rest/tools/list?server_id=up", "")
	if got.status != http.StatusBadGateway || !strings.Contains(got.body, "too_large") || pages > 10 {
		t.Errorf("%d after %d pages: %.300s", got.status, pages, got.body)
	}
}

func TestToolsAreCalledPlainly(t *testing.T) {
	up := mcptest.Start(t, paged())
	r := start(t, one(up.URL))
	for _, c := range []struct{ body, called string }{
		{`{"server_id":"up","name":"get-sum","arguments":{"a":1.0, "b":"\u00e9"}}`, `{"name":"get-sum","arguments":{"a":1.0, "b":"\u00e9"}}`},
		{`{"name":"get-sum","arguments":null,"server_id":"up","more":[1]}`, `{"name":"get-sum","arguments":{}}`},
		{`{"name":"get-sum","server_id":"8b6f1c1e-7a52-4c1c-9f0a-up"}`, `{"name":"get-sum","arguments":{}}`},
	} {
		got := r.send(t, "POST", "/mcp-rest/tools/call", c.body)
		if got.status != 200 || !strings.HasPrefix(got.body, `{"content":[{"type":"text","text":"3"}],"called":`) || !strings.Contains(got.body, c.called[1:len(c.called)-1]) {
			t.Errorf("%s: %d %s", c.body, got.status, got.body)
		}
	}
}

func TestPlainErrorsHaveAWord(t *testing.T) {
	up := mcptest.Start(t, paged())
	s := one(up.URL)
	s.servers["other"] = up.URL
	s.servers["down"] = "http://127.0.0.1:1/mcp"
	r := start(t, s)
	for _, c := range []struct {
		method, path, body, key string
		status                  int
		word                    string
	}{
		{"POST", "call", `{"name":"get-sum"}`, alice, 400, "missing_parameter"},
		{"POST", "call", `{"server_id":"up"}`, alice, 400, "missing_parameter"},
		{"POST", "call", `{"server_id":"up","name":"get-sum","arguments":[1]}`, alice, 400, "invalid_request"},
		{"POST", "call", `{"server_id":"up","name":"get-sum","name":"secret"}`, bob, 400, "invalid_request"},
		{"POST", "call", `{"server_id":"up"`, alice, 400, "invalid_request"},
		{"POST", "call", `{"server_id":"nobody","name":"x"}`, alice, 404, "server_not_found"},
		{"POST", "call", `{"server_id":"../up","name":"x"}`, alice, 404, "server_not_found"},
		{"POST", "call", `{"server_id":"other","name":"get-sum"}`, bob, 404, "server_not_found"},
		{"POST", "call", `{"server_id":"up","name":"secret"}`, bob, 403, "access_denied"},
		{"POST", "call", `{"server_id":"up","name":"other-echo"}`, alice, 403, "tool_server_mismatch"},
		{"POST", "call", `{"server_id":"up","name":"get-sum","arguments":{"broken":1}}`, alice, 400, "invalid_request"},
		{"POST", "call", `{"server_id":"down","name":"x"}`, alice, 502, "refused"},
		{"POST", "call", `{"server_id":"up","name":"x"}`, "", 401, "unauthenticated"},
		{"GET", "call", "", alice, 405, "unsupported"},
		{"GET", "list?server_id=nobody", "", alice, 404, "server_not_found"},
		{"GET", "list?server_id=other", "", bob, 404, "server_not_found"},
		{"POST", "list", list, alice, 405, "unsupported"},
		{"GET", "list", "", "", 401, "unauthenticated"},
	} {
		got := r.send(t, c.method, "/mcp-rest/tools/"+c.path, c.body, "X-Litellm-Api-Key", c.key)
		if got.status != c.status || !strings.HasPrefix(got.body, `{"detail":{"error":"`+c.word+`","message":"`) || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got.status, got.body)
		}
		if c.status == 401 && got.header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: a 401 without a challenge", c.path)
		}
	}
}
