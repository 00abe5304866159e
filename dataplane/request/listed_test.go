package request_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// The tools of the server in the tests below; the last names its name with escapes in the list.
var toolbox = []string{"read", "read_all", "write", "wipe", "s\u00e9arch"}

// library lists its tools as JSON, as an event stream, or again on a resumed stream, and does every call.
func library(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // a test server
	_ = json.Unmarshal(body, &m)  //nolint:errcheck // GET has none
	list := `{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"x":1,"tools":[` + strings.Join(entries(), " ,\n") + `],"nextCursor":"c"}}`
	switch {
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 7\ndata: %s\n\n", strings.ReplaceAll(strings.Replace(list, `"id":,`, `"id":1,`, 1), "\n", "\ndata: "))
	case m.Method == "tools/call":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[],"did":%q}}`, m.ID, m.Params.Name)
	case strings.Contains(r.Header.Get("Mcp-Session-Id"), "events"):
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: message\ndata: %s\n\n", strings.ReplaceAll(list, "\n", "\ndata: "))
	default:
		w.Header().Set("Content-Type", "application/json")
		if m.Method == "initialize" {
			w.Header().Set("Mcp-Session-Id", "s-"+r.Header.Get("X-Kind"))
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"l","version":"1"}}}`, m.ID)
			return
		}
		io.WriteString(w, list) //nolint:errcheck // a test server
	}
}

func entries() (out []string) {
	for i, name := range toolbox {
		quoted := fmt.Sprintf("%+q", name)
		out = append(out, fmt.Sprintf(`{"title":"t%d", "name":%s,"inputSchema":{"type":"object","properties":{"name":{"type":"string"}}}}`, i, quoted))
	}
	return out
}

// Whatever the grants of a key, its team and its toolsets are: what is listed can be called, and what is not listed can't, on every path.
func TestListedAndCallableAreTheSame(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(library))
	s := one(up.URL)
	s.servers["up"].AccessGroups = []string{"lab"}
	s.servers["up"].ForwardHeaders = []string{"x-kind"}
	g := start(t, s)
	base := g.holder.Load()
	rapid.Check(t, func(rt *rapid.T) {
		g.holder.Store(granted(t, base, rt))
		var callable []string
		for _, tool := range toolbox {
			a := g.send(t, http.MethodPost, "/up/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q}}`, tool), lean()...)
			switch {
			case a.status == 200 && strings.Contains(a.body, `"did"`):
				callable = append(callable, tool)
			case a.status != 403 && a.status != 404:
				rt.Fatalf("%s: %d %s", tool, a.status, a.body)
			}
		}
		for path, listed := range g.lists(t, rt) {
			if !slices.Equal(listed, callable) {
				rt.Fatalf("%s lists %q, callable are %q", path, listed, callable)
			}
		}
	})
}

// lean are the headers of carol, who holds the random grants.
func lean(more ...string) []string {
	return append([]string{"X-Litellm-Api-Key", carol, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream"}, more...)
}

const carol = "sk-carol-0123456789abcdef"

// lists asks for the tools in every way there is.
func (g *gateway) lists(t *testing.T, rt *rapid.T) map[string][]string {
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	out := map[string][]string{}
	json := g.send(t, http.MethodPost, "/up/mcp", list, lean()...)
	if json.status == 404 {
		return map[string][]string{"nothing": nil}
	}
	out["JSON"] = names(rt, json.body)
	out["bare curl"] = names(rt, g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", carol).body)
	begun := g.send(t, http.MethodPost, "/up/mcp", hello, lean("X-Kind", "events")...)
	id := begun.header.Get("Mcp-Session-Id")
	if id == "" {
		rt.Fatalf("no session: %d %s", begun.status, begun.body)
	}
	out["event stream"] = names(rt, g.send(t, http.MethodPost, "/up/mcp", list, lean("Mcp-Session-Id", id)...).body)
	out["collapsed stream"] = names(rt, g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", carol, "Mcp-Session-Id", id, "Accept", "application/json").body)
	out["resumed stream"] = names(rt, g.send(t, http.MethodGet, "/up/mcp", "", lean("Mcp-Session-Id", id, "Last-Event-Id", "6")...).body)
	return out
}

// names takes the names out of an answer, whichever form it has.
func names(rt *rapid.T, body string) (out []string) {
	var data strings.Builder
	for _, line := range strings.Split(body, "\n") {
		switch {
		case strings.HasPrefix(line, "data:"):
			data.WriteString(strings.TrimPrefix(line, "data:") + "\n")
		case !strings.HasPrefix(line, "event:") && !strings.HasPrefix(line, "id:") && !strings.HasPrefix(line, ":"):
			data.WriteString(line + "\n")
		}
	}
	var m struct {
		Result struct {
			X          int
			Tools      []struct{ Name, Title string }
			NextCursor string
		}
	}
	if err := json.Unmarshal([]byte(data.String()), &m); err != nil || m.Result.X != 1 || m.Result.NextCursor != "c" {
		rt.Fatalf("the list is not what the server sent: %v %q", err, body)
	}
	for _, tool := range m.Result.Tools {
		out = append(out, tool.Name)
	}
	return out
}

// granted draws grants for carol.
func granted(t *testing.T, base *table.Table, rt *rapid.T) *table.Table {
	pattern := rapid.SampledFrom([]string{"read", "read*", "w*", "wipe", "*", "s\u00e9*", "none"})
	rules := func(label string) (out []*configv1.ToolRule) {
		for range rapid.IntRange(0, 2).Draw(rt, label+" rules") {
			out = append(out, &configv1.ToolRule{Server: rapid.SampledFrom([]string{"up", "*", "else"}).Draw(rt, "server"),
				Allow: rapid.SliceOfN(pattern, 0, 2).Draw(rt, "allow"), Deny: rapid.SliceOfN(pattern, 0, 1).Draw(rt, "deny")})
		}
		return out
	}
	some := func(label string, words ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 1, rapid.ID).Draw(rt, label)
	}
	key := &configv1.ApiKeySpec{Sha256: digest(carol), Servers: some("servers", "up", "*", "else"), Groups: some("groups", "lab", "none"),
		Toolsets: some("toolsets", "readers", "missing"), Tools: rules("key")}
	team := &configv1.TeamSpec{Servers: some("team servers", "up", "*", "else"), Groups: some("team groups", "lab", "none"),
		Toolsets: some("team toolsets", "readers"), Tools: rules("team")}
	if rapid.Bool().Draw(rt, "in a team") {
		key.Team = rapid.SampledFrom([]string{"core", "gone"}).Draw(rt, "team")
	}
	set := &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "up", Tool: "read"}, {Server: "up", Tool: "wipe"}, {Server: "else", Tool: "write"}}}
	next, outcomes := base.Apply(confset.Delta{Upserts: []confset.Object{
		object(t, "apikey", "carol", &configv1.ApiKey{Name: "carol", Spec: key}),
		object(t, "team", "core", &configv1.Team{Name: "core", Spec: team}),
		object(t, "toolset", "readers", &configv1.Toolset{Name: "readers", Spec: set}),
	}}, base.Version().Revision+1, base.Version())
	for _, o := range outcomes {
		if o.Rejected {
			rt.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	return next
}
