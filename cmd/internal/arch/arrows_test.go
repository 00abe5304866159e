package arch

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// arrow is an import that must not be.
type arrow struct {
	from   []string // folders; "" is all of them
	to     string   // import path, with everything below it
	except []string // folders that may
	tests  bool     // tests may
	why    string
}

var both = []string{"controlplane/", "dataplane/"}

var arrows = []arrow{
	{from: []string{"proto/"}, to: module + "/controlplane", why: "the contract stands on nothing of ours but itself"},
	{from: []string{"proto/"}, to: module + "/dataplane", why: "the contract stands on nothing of ours but itself"},
	{from: both, to: module + "/cmd", why: "cmd stands on the planes, never the other way round"},
	{from: []string{"proto/"}, to: module + "/cmd", why: "cmd stands on the contract, never the other way round"},
	{from: []string{"controlplane/"}, to: module + "/dataplane", why: "the planes meet on the wire; what admission needs of the data plane is handed in by cmd"},
	{from: []string{"dataplane/"}, to: module + "/controlplane", why: "the planes meet on the wire"},
	{from: []string{"dataplane/request/"}, to: module + "/dataplane/follow", why: "the two journeys meet in the table only"},
	{from: []string{"dataplane/request/leg/", "dataplane/request/several/"}, to: module + "/dataplane/request/reply",
		why: "what several servers say is bytes for whoever asked; only that one speaks to the caller"},
	{from: []string{"dataplane/request/leg/"}, to: module + "/dataplane/request/several", why: "a leg knows nothing of the others"},
	{from: []string{"dataplane/follow/"}, to: module + "/dataplane/request", why: "the two journeys meet in the table only"},
	{from: []string{""}, to: "github.com/modelcontextprotocol/go-sdk", except: []string{"cmd/", "dataplane/mcptest/"}, tests: true,
		why: "a gateway made of an SDK decodes what it must pass byte for byte, and costs fourteen times as much"},
	{from: []string{""}, to: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
		why: "the sync stream's span would last for hours; spans of a change are made where it is handled"},
	{from: both, to: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", why: "a request's spans are made from its record, and only if it is sampled or failed"},
	{from: []string{"dataplane/"}, to: "net/http/httputil", why: "ReverseProxy forwards headers nobody named, and costs twice as much as our hop"},
	{from: []string{"dataplane/"}, to: "github.com/hashicorp/go-retryablehttp", except: []string{"dataplane/egress/"},
		why: "a tool call must never run twice; what the gateway asks for itself goes through egress"},
	{from: []string{"proto/"}, to: "net", why: "pure functions: no socket", except: []string{"proto/gen/"}, tests: true},
	{from: []string{"proto/"}, to: "os", why: "pure functions: no file, no environment", tests: true},
	{from: []string{"proto/"}, to: "log", why: "pure functions: no logger",
		except: []string{"proto/redact/"}}, // its secret tells slog how not to print it
}

// exact are packages for which the packages below them are others altogether.
var exact = map[string]bool{"net": true, "os": true}

func (a arrow) hits(f *file, imported string) bool {
	if imported != a.to && (exact[a.to] || !strings.HasPrefix(imported, a.to+"/")) || a.tests && f.test() {
		return false
	}
	under := func(dirs []string) bool {
		for _, d := range dirs {
			if strings.HasPrefix(f.path, d) {
				return true
			}
		}
		return false
	}
	return under(a.from) && !under(a.except)
}

func findArrows(h *house) []string {
	var out []string
	for _, f := range h.files {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				out = append(out, h.at(spec, "%v", err))
			}
			for _, a := range arrows {
				if a.hits(f, imported) {
					out = append(out, h.at(spec, "imports %s: %s", imported, a.why))
				}
			}
		}
	}
	return out
}

var arrowChecks = []check{{
	name: "imports follow the arrows", find: findArrows,
	breach: map[string]string{
		"proto/rules/a.go":             "package rules\nimport _ \"" + module + "/dataplane/table\"\nimport _ \"os\"\nimport _ \"log/slog\"\n",
		"controlplane/view/a.go":       "package view\nimport _ \"" + module + "/dataplane/table\"\nimport _ \"" + module + "/cmd/internal/process\"\n",
		"controlplane/view/a_test.go":  "package view\nimport _ \"" + module + "/dataplane/table\"\n",
		"dataplane/listen/a.go":        "package listen\nimport _ \"net/http/httputil\"\nimport _ \"github.com/modelcontextprotocol/go-sdk/mcp\"\nimport _ \"net/http\"\n",
		"dataplane/listen/a_test.go":   "package listen\nimport _ \"github.com/modelcontextprotocol/go-sdk/mcp\"\n",
		"dataplane/request/hop/a.go":   "package hop\nimport _ \"" + module + "/dataplane/follow/lastgood\"\n",
		"dataplane/request/leg/a.go":   "package leg\nimport _ \"" + module + "/dataplane/request/reply\"\nimport _ \"" + module + "/dataplane/request/several\"\n",
		"dataplane/follow/a.go":        "package follow\nimport _ \"" + module + "/controlplane/cptest\"\nimport _ \"" + module + "/dataplane/table\"\n",
		"dataplane/mcptest/a.go":       "package mcptest\nimport _ \"github.com/modelcontextprotocol/go-sdk/mcp\"\n",
		"controlplane/stream/a.go":     "package stream\nimport _ \"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc\"\n",
		"proto/gen/hopgate/x/x.pb.go":  "package x\nimport _ \"" + module + "/cmd/internal/process\"\n",
		"cmd/internal/launch/a.go":     "package launch\nimport _ \"" + module + "/controlplane\"\nimport _ \"" + module + "/dataplane\"\n",
		"dataplane/telemetry/other.go": "package telemetry\nimport _ \"net/http\"\n",
	},
	says: []string{
		"controlplane/stream/a.go:2: imports go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc: the sync stream's span",
		"controlplane/view/a.go:2: imports " + module + "/dataplane/table: the planes meet on the wire",
		"controlplane/view/a.go:3: imports " + module + "/cmd/internal/process: cmd stands on the planes",
		"controlplane/view/a_test.go:2", "dataplane/follow/a.go:2: imports " + module + "/controlplane/cptest", "dataplane/listen/a.go:2: imports net/http/httputil",
		"dataplane/listen/a.go:3: imports github.com/modelcontextprotocol/go-sdk/mcp: a gateway made of an SDK", "dataplane/request/hop/a.go:2",
		"dataplane/request/leg/a.go:2: imports " + module + "/dataplane/request/reply", "dataplane/request/leg/a.go:3: imports " + module + "/dataplane/request/several",
		"proto/gen/hopgate/x/x.pb.go:2", "proto/rules/a.go:2", "proto/rules/a.go:3: imports os: pure", "proto/rules/a.go:4: imports log/slog: pure",
	},
}}

// using returns what a package's name is called with, such as Sleep of time, in code.
func using(f *file, pkg string, visit func(sel *ast.SelectorExpr)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
				visit(sel)
			}
		}
		return true
	})
}

// clocks are the functions of time that don't depend on their arguments alone.
var clocks = map[string]bool{"Now": true, "Since": true, "Until": true, "After": true, "AfterFunc": true, "Tick": true, "NewTimer": true, "NewTicker": true, "Sleep": true}

// clients are the parts of net/http that would make an upstream leg beside ours.
var clients = map[string]bool{"Client": true, "Transport": true, "DefaultClient": true, "DefaultTransport": true, "Get": true, "Post": true, "PostForm": true, "Head": true}

func findImpure(h *house) []string {
	var out []string
	for _, f := range h.ours(false) {
		if !strings.HasPrefix(f.path, "proto/") {
			continue
		}
		using(f, "time", func(s *ast.SelectorExpr) {
			if clocks[s.Sel.Name] {
				out = append(out, h.at(s, "time.%s: the contract's functions have no clock; take the time as an argument", s.Sel.Name))
			}
		})
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				out = append(out, h.at(g, "go: the contract's functions start nothing"))
			}
			return true
		})
	}
	return out
}

// noUpstreams are folders of the data plane whose HTTP isn't an upstream leg.
var noUpstreams = []string{
	"dataplane/mcptest/", // servers for tests, and who calls them
	"dataplane/egress/",  // what the gateway asks for itself
	"dataplane/peer/",    // from one of our data planes to another: requests and answers pass as they are
}

func findOtherClients(h *house) []string {
	var out []string
	for _, f := range h.ours(false) {
		below := func(dir string) bool { return strings.HasPrefix(f.path, dir) }
		if !below("dataplane/") || slices.ContainsFunc(noUpstreams, below) {
			continue
		}
		using(f, "http", func(s *ast.SelectorExpr) {
			if clients[s.Sel.Name] {
				out = append(out, h.at(s, "http.%s: upstreams are reached through hop/transport, which names the phase of every failure and repeats nothing", s.Sel.Name))
			}
		})
	}
	return out
}

var pureChecks = []check{
	{name: "the contract is pure", find: findImpure,
		breach: map[string]string{"proto/rules/a.go": "package rules\nimport \"time\"\nvar now = time.Now()\nfunc f(t time.Time) { go f(t) }\n"},
		says:   []string{"proto/rules/a.go:3: time.Now", "proto/rules/a.go:4: go:"}},
	{name: "one way to upstreams", find: findOtherClients,
		breach: map[string]string{
			"dataplane/request/hop/a.go": "package hop\nimport \"net/http\"\nvar c = http.Client{}\nvar s = http.StatusOK\n",
			"dataplane/mcptest/a.go":     "package mcptest\nimport \"net/http\"\nvar c = http.Client{}\n",
			"dataplane/peer/a.go":        "package peer\nimport \"net/http\"\nvar c = http.Client{}\n",
			"dataplane/peers/a.go":       "package peers\nimport \"net/http\"\nvar c = http.Client{}\n",
		},
		says: []string{"dataplane/peers/a.go:3: http.Client", "dataplane/request/hop/a.go:3: http.Client"}},
}
