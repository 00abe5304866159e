package gather_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// greeting is an answer as a client reads it.
type greeting struct {
	ID     json.RawMessage
	Result struct {
		ResultType        string
		ProtocolVersion   string
		SupportedVersions []string
		Capabilities      map[string]any
		ServerInfo        map[string]string
		Instructions      *string
		TTL               *int64 `json:"ttlMs"`
		CacheScope        string
		Meta              map[string]map[string]any `json:"_meta"`
	}
}

func greet(t *testing.T, write func(dst, id []byte, h gather.Greeting) []byte, h gather.Greeting) (g greeting) {
	t.Helper()
	b := write([]byte(" "), []byte(`"a"`), h)
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if string(g.ID) != `"a"` {
		t.Errorf("the answer is to %s", g.ID)
	}
	return g
}

func part(server, capabilities, instructions string) gather.Part {
	return gather.Part{Server: server, Hello: message.Hello{Capabilities: []byte(capabilities), Instructions: instructions}}
}

var allThere = []gather.Outcome{{Server: "a", Status: gather.OK}, {Server: "b", Status: gather.OK}}

func TestInitializeTellsWhatAllSay(t *testing.T) {
	g := greet(t, gather.AppendInitialize, gather.Greeting{Revision: "2025-06-18", Agent: "hopgate/1.2.3", Outcomes: allThere, Parts: []gather.Part{
		part("a", `{"tools":{"listChanged":true},"logging":{}}`, "Say \"please\".\n"), part("b", `{"tools":{}}`, ""), part("c", ``, "Third."),
	}})
	r := &g.Result
	if r.ProtocolVersion != "2025-06-18" || r.ServerInfo["name"] != "hopgate" || r.ServerInfo["version"] != "1.2.3" {
		t.Errorf("%+v", r)
	}
	if r.Instructions == nil || *r.Instructions != "## a\nSay \"please\".\n\n\n## c\nThird." {
		t.Errorf("%q", *r.Instructions)
	}
	if want := map[string]any{"tools": map[string]any{"listChanged": true}, "logging": map[string]any{}}; !reflect.DeepEqual(r.Capabilities, want) {
		t.Errorf("%v", r.Capabilities)
	}
	if r.ResultType != "" || r.TTL != nil || r.CacheScope != "" {
		t.Error("a legacy answer has members of a modern one")
	}
	ours, theirs := r.Meta["hopgate.dev/outcomes"], r.Meta["litellm.ai/server_outcomes"]
	if len(ours) != 2 || !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%v", r.Meta)
	}
}

// A server that is down while a client begins must be usable later, so that clients must not learn that there are no tools.
func TestWhatIsMissingIsStillOffered(t *testing.T) {
	for _, h := range []gather.Greeting{
		{},
		{Parts: []gather.Part{part("a", `{"logging":{}}`, "")}, Outcomes: []gather.Outcome{{Server: "a", Status: gather.OK},
			{Server: "b", Status: gather.Timeout, Err: at(fault.Upstream, fault.Headers, fault.TimedOut)}}},
	} {
		for _, write := range []func(dst, id []byte, h gather.Greeting) []byte{gather.AppendInitialize, gather.AppendDiscover} {
			g := greet(t, write, h)
			for _, name := range []string{"tools", "prompts", "resources"} {
				if c, _ := g.Result.Capabilities[name].(map[string]any); c["listChanged"] != true {
					t.Errorf("%s: %v", name, g.Result.Capabilities)
				}
			}
			if _, ok := g.Result.Capabilities["logging"]; ok != (len(h.Parts) > 0) {
				t.Errorf("%v", g.Result.Capabilities)
			}
			if g.Result.TTL != nil && *g.Result.TTL > 5000 {
				t.Errorf("it may be kept for %d ms", *g.Result.TTL)
			}
		}
	}
	g := greet(t, gather.AppendInitialize, gather.Greeting{Outcomes: allThere, Parts: []gather.Part{part("a", `{"tools":{}}`, "")}})
	if _, ok := g.Result.Capabilities["prompts"]; ok {
		t.Error("prompts are offered although no server has any")
	}
}

func TestDiscoverIsForTheCallerAlone(t *testing.T) {
	g := greet(t, gather.AppendDiscover, gather.Greeting{Versions: []string{"2026-07-28", "2025-11-25"}, Agent: "hopgate/1", Outcomes: allThere,
		Parts: []gather.Part{part("a", `{"tools":{}}`, "A.")}})
	r := &g.Result
	if r.ResultType != "complete" || !reflect.DeepEqual(r.SupportedVersions, []string{"2026-07-28", "2025-11-25"}) || r.CacheScope != "private" ||
		r.TTL == nil || *r.TTL != 60000 || *r.Instructions != "## a\nA." || r.Meta["io.modelcontextprotocol/serverInfo"]["name"] != "hopgate" ||
		len(r.Meta["hopgate.dev/outcomes"]) != 2 || r.ServerInfo != nil || r.ProtocolVersion != "" {
		t.Errorf("%+v", r)
	}
	if g := greet(t, gather.AppendDiscover, gather.Greeting{}); len(g.Result.SupportedVersions) == 0 || g.Result.Instructions != nil {
		t.Errorf("%+v", g.Result)
	}
}

// One server with a book of instructions doesn't take the room of the others.
func TestInstructionsAreBounded(t *testing.T) {
	g := greet(t, gather.AppendInitialize, gather.Greeting{Parts: []gather.Part{part("a", "", "x"+strings.Repeat("é", 60000)),
		part("b", "", "Short."), part("c", "", strings.Repeat("x", 70000))}})
	text := *g.Result.Instructions
	if len(text) > 64<<10 || len(text) < 64<<10-8 || !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		t.Errorf("%d bytes", len(text))
	}
	if !strings.Contains(text, "\n\n## b\nShort.\n\n## c\nxxx") {
		t.Error("b and c have no room")
	}
	many := gather.Greeting{}
	for range 9000 {
		many.Parts = append(many.Parts, part("server", "", "Text."))
	}
	if g := greet(t, gather.AppendInitialize, many); g.Result.Instructions != nil && len(*g.Result.Instructions) > 64<<10 {
		t.Errorf("%d bytes", len(*g.Result.Instructions))
	}
}

func TestAnEndpointOfToolsDeclaresNothingElse(t *testing.T) {
	all := message.Hello{Capabilities: []byte(`{"tools":{},"prompts":{},"resources":{},"completions":{},"logging":{}}`)}
	got := string(gather.AppendInitialize(nil, []byte("1"), gather.Greeting{ToolsOnly: true, Parts: []gather.Part{{Server: "a", Hello: all}},
		Outcomes: []gather.Outcome{{Server: "a", Status: gather.OK}}}))
	if !strings.Contains(got, `"capabilities":{"tools":{},"logging":{}}`) {
		t.Error(got)
	}
}
