package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const fine = `"error":null,"message":"Successfully retrieved tools"}`

// Red when a list in which servers are missing reads like a whole one.
func TestAListSaysWhatIsMissing(t *testing.T) {
	alpha, beta := &depot{name: "alpha", tools: tools("echo")}, &depot{name: "beta", tools: tools("add")}
	g := start(t, key(t, everything()), server(t, "alpha", mcptest.Start(t, alpha).URL), server(t, "beta", mcptest.Start(t, beta).URL),
		server(t, "nobody", mcptest.RefusedURL(t)), server(t, "page", mcptest.Start(t, mcptest.Page(200)).URL))
	const echo, add = `{"name":"echo","inputSchema":{"type":"object"},"mcp_info":{"server_name":"alpha"}}`, `{"name":"add","inputSchema":{"type":"object"},"mcp_info":{"server_name":"beta"}}`
	const nobody = `hop=upstream; phase=connect; kind=refused`
	const page = `hop=upstream; phase=intermediary; kind=mismatch; upstream_status=200`
	got := g.list(t, "", "X-Hopgate-Debug", "true")
	want := `{"tools":[` + echo + `,` + add + `],"error":"partial_failure","message":"the tools of 2 of 4 servers are missing: nobody: unreachable (` + nobody + `), page: misconfigured (` + page + `)",` +
		`"outcomes":{"alpha":{"status":"ok"},"beta":{"status":"ok"},"nobody":{"status":"unreachable","error":"` + nobody + `"},"page":{"status":"misconfigured","error":"` + page + `"}}}`
	if got.status != 200 || got.body != want {
		t.Errorf("%d %s\nwant %s", got.status, got.body, want)
	}
	if hops := got.header.Get("X-Mcp-Debug-Hops"); !strings.Contains(hops, "nobody") || !strings.Contains(hops, "alpha") {
		t.Errorf("the hops are %q", hops)
	}
	if got := g.list(t, "?mcp_server_name=alpha&mcp_server_name=beta"); got.status != 200 || got.body != `{"tools":[`+echo+`,`+add+`],`+fine {
		t.Errorf("without those that failed: %d %s", got.status, got.body)
	}
	if got := g.list(t, "?server_id=alpha"); got.header.Get("X-Mcp-Debug-Hops") != "" || got.body != `{"tools":[`+echo+`],`+fine {
		t.Errorf("one server: %v %s", got.header, got.body)
	}
}

func TestAListOfNothingButFailuresIsAnError(t *testing.T) {
	down := &depot{name: "down"}
	down.down.Store(true)
	g := start(t, key(t, everything()), server(t, "down", mcptest.Start(t, down).URL, "lab"), server(t, "nobody", mcptest.RefusedURL(t), "lab", "far"))
	for _, c := range []struct{ query, word, header, message string }{
		{"", "reset", "hop=upstream; phase=headers; kind=reset; server=down", "none of the servers told its tools: down: unreachable (hop=upstream; phase=headers; kind=reset), nobody: unreachable ("},
		{"?server_id=far", "refused", "hop=upstream; phase=connect; kind=refused; server=nobody", "none of the servers told its tools: nobody: unreachable ("},
		{"?server_id=nobody", "refused", "hop=upstream; phase=connect; kind=refused; server=nobody", ""},
	} {
		got := g.list(t, c.query)
		if got.status != http.StatusBadGateway || got.header.Get("X-Hopgate-Error") != c.header || !strings.HasPrefix(got.body, `{"detail":{"error":"`+c.word+`","message":"`+c.message) {
			t.Errorf("%s: %d %q %s", c.query, got.status, got.header.Get("X-Hopgate-Error"), got.body)
		}
		if c.message != "" && !strings.Contains(got.body, `"data":{"outcomes":{`) {
			t.Errorf("%s: %s", c.query, got.body)
		}
	}
}

// Red when a server can say of others, or of itself, what the gateway should.
func TestWhatServersSayOfThemselvesIsNoWordOfTheGateway(t *testing.T) {
	liar := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		switch m.Method {
		case "initialize":
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"d","version":"1"}}`)
		case "tools/list":
			mcptest.Result(w, m, `{"tools":[{"mcp_info":{"server_name":"a"},"name":"one","inputSchema":{"mcp_info":1.0}}, {"name":"two","mcp\u005finfo" : [1]}],
				"_meta":{"hopgate.dev/outcomes":{"b":{"status":"timeout"}}}}`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	g := start(t, key(t, everything()), server(t, "liar", liar.URL))
	const ours = `"mcp_info":{"server_name":"liar"}`
	want := `{"tools":[{` + ours + `,"name":"one","inputSchema":{"mcp_info":1.0}},{"name":"two",` + ours + `}],` + fine
	for _, query := range []string{"", "?server_id=liar"} {
		if got := g.list(t, query); got.status != 200 || got.body != want {
			t.Errorf("%q: %d %s\nwant %s", query, got.status, got.body, want)
		}
	}
}

func TestToolsOfAToolsetAndAGroupHaveTheirNamesAndServers(t *testing.T) {
	alpha, gamma := &depot{name: "alpha", tools: tools("with-hyphen", "echo")}, &depot{name: "gamma", tools: tools("echo")}
	g := start(t, key(t, everything()), server(t, "alpha", mcptest.Start(t, alpha).URL, "lab"), server(t, "gamma", mcptest.Start(t, gamma).URL, "lab"),
		object(t, "toolset", "kit", &configv1.Toolset{Name: "kit", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "alpha", Tool: "with-hyphen"},
			{Server: "gamma", Tool: "echo", Name: "beta-echo"}, {Server: "alpha", Tool: "echo"}}}}))
	tool := func(name, server string) string {
		return fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"},"mcp_info":{"server_name":%q}}`, name, server)
	}
	for query, want := range map[string][]string{
		"?server_id=kit":         {tool("with-hyphen", "alpha"), tool("beta-echo", "gamma"), tool("echo", "alpha")},
		"?mcp_server_name=kit":   {tool("with-hyphen", "alpha"), tool("beta-echo", "gamma"), tool("echo", "alpha")},
		"?server_id=lab":         {tool("alpha-echo", "alpha"), tool("alpha-with-hyphen", "alpha"), tool("gamma-echo", "gamma")},
		"?mcp_server_name=lab":   {tool("echo", "alpha"), tool("with-hyphen", "alpha"), tool("echo", "gamma")},
		"?server_id=alpha":       {tool("with-hyphen", "alpha"), tool("echo", "alpha")},
		"?mcp_server_name=a,lab": nil,
	} {
		got := g.list(t, query)
		if want == nil {
			if got.status != 404 {
				t.Errorf("%s: %d %s", query, got.status, got.body)
			}
			continue
		}
		if whole := `{"tools":[` + strings.Join(want, ",") + `],` + fine; got.status != 200 || got.body != whole {
			t.Errorf("%s: %d %s\nwant %s", query, got.status, got.body, whole)
		}
	}
	for _, c := range []struct{ server, name, by, did string }{
		{"kit", "with-hyphen", "alpha", "with-hyphen"}, {"kit", "beta-echo", "gamma", "echo"}, {"kit", "echo", "alpha", "echo"},
		{"lab", "gamma-echo", "gamma", "echo"}, {"lab", "alpha-with-hyphen", "alpha", "with-hyphen"}, {"gamma", "echo", "gamma", "echo"},
	} {
		got := g.call(t, fmt.Sprintf(`{"server_id":%q,"name":%q}`, c.server, c.name))
		if want := fmt.Sprintf(`{"content":[],"by":%q,"did":%q}`, c.by, c.did); got.status != 200 || got.body != want {
			t.Errorf("%s of %s: %d %s", c.name, c.server, got.status, got.body)
		}
	}
	if got := g.call(t, `{"server_id":"lab","name":"echo"}`); got.status != http.StatusForbidden || !strings.Contains(got.body, "tool_server_mismatch") {
		t.Errorf("a name that the group doesn't list: %d %s", got.status, got.body)
	}
}

// Red when a tool whose own name only looks like one that was cut can't be called.
func TestANameThatLooksCutIsTheServersOwnIfItHasIt(t *testing.T) {
	looks := "alpha-" + strings.Repeat("x", 49) + "_0123abcd"
	long := strings.Repeat("long_", 12) + "a"
	g := start(t, key(t, everything()), server(t, "alpha", mcptest.Start(t, &depot{name: "alpha", tools: tools(looks, long)}).URL))
	for _, c := range []struct{ query, did string }{{"?server_id=alpha", looks}, {"?server_id=alpha", long}, {"", long}, {"", looks}} {
		found := false
		for _, tool := range read(t, g.list(t, c.query)).Tools {
			got := g.call(t, fmt.Sprintf(`{"server_id":"alpha","name":%q}`, tool.Name))
			found = found || strings.Contains(got.body, c.did)
			if got.status != 200 {
				t.Errorf("%s: %s: %d %s", c.query, tool.Name, got.status, got.body)
			}
		}
		if !found {
			t.Errorf("%s: nothing reaches %s", c.query, c.did)
		}
	}
}

func TestTheServersOwnErrorHasItsHop(t *testing.T) {
	broken := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		switch {
		case m.Method == "initialize":
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"d","version":"1"}}`)
		case len(m.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		case strings.Contains(string(m.Params), "unknown"), m.Method == "tools/list":
			mcptest.Refuse(w, m, http.StatusOK, -32601, "null")
		default:
			mcptest.Refuse(w, m, http.StatusOK, -32603, "null")
		}
	}))
	g := start(t, key(t, everything()), server(t, "broken", broken.URL), object(t, "toolset", "kit", &configv1.Toolset{Name: "kit",
		Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "broken", Tool: "x", Name: "y"}}}}))
	const refused, unsupported = "hop=upstream; phase=protocol; kind=refused; remote=true; server=broken", "hop=upstream; phase=protocol; kind=unsupported; remote=true; server=broken"
	for _, c := range []struct {
		got          answer
		status       int
		word, header string
	}{
		{g.call(t, `{"server_id":"broken","name":"x"}`), 502, "upstream_error", refused},
		{g.call(t, `{"server_id":"kit","name":"y"}`), 502, "upstream_error", refused},
		{g.call(t, `{"server_id":"broken","name":"unknown"}`), 400, "invalid_request", unsupported},
		{g.list(t, `?server_id=broken`), 400, "invalid_request", unsupported},
	} {
		if c.got.status != c.status || c.got.header.Get("X-Hopgate-Error") != c.header || !strings.HasPrefix(c.got.body, `{"detail":{"error":"`+c.word+`"`) {
			t.Errorf("%d %q %s", c.got.status, c.got.header.Get("X-Hopgate-Error"), c.got.body)
		}
	}
}

func TestABadRequestIsToldByFieldProblemAndFix(t *testing.T) {
	g := start(t, key(t, everything()), server(t, "alpha", mcptest.Start(t, &depot{name: "alpha", tools: tools("echo")}).URL))
	for body, want := range map[string]string{
		``:                                      `"invalid_request","message":"the request body is empty"`,
		"  \n":                                  `"invalid_request","message":"the request body is empty"`,
		`[]`:                                    `"invalid_request","message":"the request body must be a JSON object, and is an array"`,
		`null`:                                  `"invalid_request","message":"the request body must be a JSON object, and is null"`,
		`{"server_id":"alpha","name":"echo"} x`: `"invalid_request","message":"the request body goes on behind its JSON object, from byte 35"`,
		`{"server_id":"alpha","name":"echo"`:    `"invalid_request","message":"the request body isn't valid JSON: it ends before the object does"`,
		`{"server_id":alpha}`:                   `"invalid_request","message":"the request body isn't valid JSON: the trouble is near byte 13"`,
		`nonsense`:                              `"invalid_request","message":"the request body isn't valid JSON: the trouble is near byte 1"`,
		`{"server_id":"alpha","name":"echo","name":"x"}`:                     `"invalid_request","message":"the request body has a name twice in one object: /name"`,
		`{"server_id":"alpha","name":"echo","arguments":{"a":1,"\u0061":2}}`: `"invalid_request","message":"the request body has a name twice in one object: /arguments/a"`,
		`{"server_id":5,"name":"echo"}`:                                      `"invalid_request","message":"server_id must be a string, and is a number","data":{"field":"server_id"`,
		`{"server_id":"alpha","name":{}}`:                                    `"invalid_request","message":"name must be a string, and is an object","data":{"field":"name"`,
		`{"server_id":"alpha","name":"echo","arguments":[]}`:                 `"invalid_request","message":"arguments must be an object, and is an array","data":{"field":"arguments"`,
		`{"server_id":null,"name":"echo"}`:                                   `"missing_parameter","message":"server_id is required in the request body","data":{"field":"server_id"`,
		`{"server_id":"alpha","arguments":{}}`:                               `"missing_parameter","message":"name is required in the request body","data":{"field":"name"`,
	} {
		got := g.call(t, body)
		if got.status != 400 || !strings.HasPrefix(got.body, `{"detail":{"error":`+want) || !strings.Contains(got.body, `"hint":"send {`) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
		if h := got.header.Get("X-Hopgate-Error"); h != "hop=client; phase=request; kind=malformed" {
			t.Errorf("%s: %q", body, h)
		}
	}
	for _, query := range []string{"?server_id=%zz", "?server_id=alpha&server_id=beta"} {
		if got := g.list(t, query); got.status != 400 || !strings.HasPrefix(got.body, `{"detail":{"error":"invalid_request"`) {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
}

// Red when x-mcp-servers is forgotten for one server, or tells to which groups hidden ones belong.
func TestXMCPServersNarrowsEveryRequest(t *testing.T) {
	up := mcptest.Start(t, &depot{name: "alpha", tools: tools("echo")}).URL
	g := start(t, key(t, &configv1.ApiKeySpec{Servers: []string{"alpha", "beta"}}), server(t, "alpha", up, "lab"), server(t, "beta", up), server(t, "hidden", up, "lab"))
	for _, c := range []struct {
		narrow, id string
		there      bool
	}{
		{"", "beta", true}, {" , ", "beta", true}, {"beta", "beta", true}, {"alpha", "beta", false}, {"lab", "beta", false}, {"lab, beta", "beta", true},
		{"lab", "alpha", true}, {"alpha", "8b6f1c1e-7a52-4c1c-9f0a-beta", false}, {"beta", "8b6f1c1e-7a52-4c1c-9f0a-beta", true}, {"beta", "lab", false}, {"alpha", "lab", true},
	} {
		list := g.list(t, "?server_id="+c.id, "X-Mcp-Servers", c.narrow)
		name := "echo"
		if c.id == "lab" {
			name = "alpha-echo"
		}
		call := g.call(t, fmt.Sprintf(`{"server_id":%q,"name":%q}`, c.id, name), "X-Mcp-Servers", c.narrow)
		if (list.status == 200) != c.there || (call.status == 200) != c.there || !c.there && (list.status != 404 || call.status != 404) {
			t.Errorf("%s narrowed to %q: %d, %d %s", c.id, c.narrow, list.status, call.status, call.body)
		}
	}
	trace := func(a answer) string { return strings.ReplaceAll(a.body, a.header.Get("X-Hopgate-Trace-Id"), "") }
	in, out, none := g.list(t, "?server_id=hidden", "X-Mcp-Servers", "lab"), g.list(t, "?server_id=hidden", "X-Mcp-Servers", "alpha"), g.list(t, "?server_id=nobody", "X-Mcp-Servers", "lab")
	if trace(in) != trace(out) || in.header.Get("X-Hopgate-Error") != out.header.Get("X-Hopgate-Error") {
		t.Errorf("%s\n%s", in.body, out.body)
	}
	if none.status != 404 {
		t.Errorf("%d %s", none.status, none.body)
	}
}
