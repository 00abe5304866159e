package table_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// world is a table that was reached step by step, and the model of what it should mean.
type world struct {
	tb    testing.TB
	table *table.Table
	model model
	key   *configv1.ApiKeySpec
	idp   []*configv1.ClaimGrant
}

func newWorld(tb testing.TB) *world {
	return &world{tb: tb, table: empty(), key: &configv1.ApiKeySpec{}, model: model{servers: map[string]*configv1.ServerSpec{}, teams: map[string]*configv1.TeamSpec{}, toolsets: map[string]*configv1.ToolsetSpec{}}}
}

// live writes one object of each name, then changes some.
func (w *world) live(rt *rapid.T) {
	for i := range 2 {
		w.stepServer(rt, worldServers[i], false)
		w.stepTeam(rt, worldTeams[i+1], false)
		w.stepToolset(rt, worldToolsets[i], false)
	}
	w.step(rt, "apikey", false)
	w.step(rt, "identityprovider", false)
	for range rapid.IntRange(0, 6).Draw(rt, "steps") {
		w.step(rt, rapid.SampledFrom([]string{"server", "team", "toolset", "apikey", "identityprovider"}).Draw(rt, "kind"), rapid.IntRange(0, 3).Draw(rt, "drop") == 0)
	}
}

// step changes one object.
func (w *world) step(rt *rapid.T, kind string, drop bool) {
	switch kind {
	case "server":
		w.stepServer(rt, rapid.SampledFrom(worldServers[:2]).Draw(rt, "name"), drop)
	case "team":
		w.stepTeam(rt, rapid.SampledFrom(worldTeams[1:3]).Draw(rt, "name"), drop)
	case "toolset":
		w.stepToolset(rt, rapid.SampledFrom(worldToolsets[:2]).Draw(rt, "name"), drop)
	case "apikey":
		w.key = &configv1.ApiKeySpec{Servers: drawServers(rt), Groups: some(rt, "groups", worldGroups, 1), Toolsets: some(rt, "toolsets", worldToolsets, 2), Tools: drawRules(rt),
			Team: rapid.SampledFrom(worldTeams).Draw(rt, "team")}
		w.put(apikey(w.tb, "k", "secret", func(s *configv1.ApiKeySpec) {
			s.Servers, s.Groups, s.Toolsets, s.Tools, s.Team = w.key.Servers, w.key.Groups, w.key.Toolsets, w.key.Tools, w.key.Team
		}))
	case "identityprovider":
		w.idp = nil
		for range rapid.IntRange(0, 3).Draw(rt, "grants") {
			w.idp = append(w.idp, &configv1.ClaimGrant{Servers: drawServers(rt), Groups: some(rt, "groups", worldGroups, 1), Toolsets: some(rt, "toolsets", worldToolsets, 2), Tools: drawRules(rt),
				Team: rapid.SampledFrom(worldTeams).Draw(rt, "team")})
		}
		w.put(provider(w.tb, "okta", &configv1.IdentityProviderSpec{Issuer: "https://okta.example.com", Audiences: []string{"hopgate"}, Grants: w.idp}))
	}
}

func drawServers(rt *rapid.T) []string {
	return rapid.SampledFrom([][]string{nil, nil, {"a"}, {"a", "b"}, {"*"}, {"gone"}}).Draw(rt, "servers")
}

func (w *world) stepServer(rt *rapid.T, name string, drop bool) {
	if drop {
		delete(w.model.servers, name)
		w.drop("server", name)
		return
	}
	s := spec(at("http://h/"))
	s.AccessGroups = some(rt, "groups", worldGroups, 2)
	s.Tools = drawShown(rt)
	w.model.servers[name] = s
	w.put(server(w.tb, name, s))
}

// stepTeam sometimes writes a team that is rejected, and then opens nothing.
func (w *world) stepTeam(rt *rapid.T, name string, drop bool) {
	if drop {
		delete(w.model.teams, name)
		w.drop("team", name)
		return
	}
	s := &configv1.TeamSpec{Servers: drawServers(rt), Groups: some(rt, "groups", worldGroups, 2), Toolsets: some(rt, "toolsets", worldToolsets, 2), Tools: drawRules(rt)}
	w.model.teams[name] = s
	if rapid.IntRange(0, 9).Draw(rt, "bad") == 0 {
		s.Limits = &configv1.CallLimits{Rate: "fast"}
		delete(w.model.teams, name)
	}
	w.put(team(w.tb, name, s))
}

func (w *world) stepToolset(rt *rapid.T, name string, drop bool) {
	if drop {
		delete(w.model.toolsets, name)
		w.drop("toolset", name)
		return
	}
	s := &configv1.ToolsetSpec{}
	for range rapid.IntRange(1, 3).Draw(rt, "tools") {
		s.Tools = append(s.Tools, &configv1.ToolsetTool{Server: rapid.SampledFrom(worldServers).Draw(rt, "of"), Tool: rapid.SampledFrom(worldTools).Draw(rt, "tool")})
	}
	w.model.toolsets[name] = s
	w.put(object(w.tb, "toolset", name, &configv1.Toolset{Name: name, Spec: s}))
}

func (w *world) put(o confset.Object)   { w.table, _ = apply(w.table, o) }
func (w *world) drop(kind, name string) { w.table, _ = remove(w.table, kind, name) }

// caller is a principal and its ways in the model.
type caller struct {
	p    *table.Principal
	ways []way
}

// callers are the holder of the key, and a token that some claims matched.
func (w *world) callers(rt *rapid.T) (out []caller) {
	if p := w.table.Principal(sha256.Sum256([]byte("secret"))); p != nil {
		out = append(out, caller{p, []way{{w.key, []string{w.key.Team}}}})
	}
	if idp, ok := w.table.Provider("https://okta.example.com"); ok {
		token := caller{p: &table.Principal{ID: "jwt:x", Name: "token"}}
		for i, g := range idp.Grants {
			if rapid.IntRange(0, 3).Draw(rt, "matched") > 0 {
				token.p.Grants = append(token.p.Grants, g.Grant)
				token.ways = append(token.ways, way{w.idp[i], []string{w.idp[i].Team}})
			}
		}
		out = append(out, token)
	}
	return out
}

// Whatever the grants, teams, toolsets and rules, and in whatever order they came: Access is the model.
func TestAccessIsWhatTheGrantsMean(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.live(rt)
		for _, c := range w.callers(rt) {
			for name := range w.model.servers {
				s, ok := w.table.Server(name)
				if !ok {
					rt.Fatalf("server %s is missing", name)
				}
				w.compare(rt, c, s)
			}
		}
	})
}

func (w *world) compare(rt *rapid.T, c caller, s *table.Server) {
	m, a := &w.model, w.table.Access(c.p, s)
	whole := m.wholly(c.ways, s.Name, func(opens) bool { return true })
	free := m.servers[s.Name].GetTools() == nil && m.wholly(c.ways, s.Name, func(o opens) bool { return len(rulesFor(o, s.Name)) == 0 })
	open := whole
	for _, tool := range worldTools {
		may := m.tool(c.ways, s.Name, tool, nil)
		open = open || may
		if a.Tool(tool) != may {
			rt.Errorf("%s, tool %s of %s: %v, want %v", c.p.Name, tool, s.Name, a.Tool(tool), may)
		}
		w.compareArguments(rt, c, s, tool)
		w.compareExplained(rt, c, s, tool, may)
	}
	if a.Open() != open || a.Free() != free || a.ToolsOnly() != (open && !whole) {
		rt.Errorf("%s of %s: open %v free %v tools only %v, want %v %v %v", c.p.Name, s.Name, a.Open(), a.Free(), a.ToolsOnly(), open, free, open && !whole)
	}
	steps := w.table.Explain(c.p, s, "")
	want := map[bool]map[bool]string{true: {true: table.Granted, false: table.ToolsOnly}, false: {false: table.Denied}}[open][whole]
	if got := steps[len(steps)-1].Verdict; got != want {
		rt.Errorf("explained as %s, want %s: %+v", got, want, steps)
	}
}

func (w *world) compareArguments(rt *rapid.T, c caller, s *table.Server, tool string) {
	args := map[string]string{}
	if rapid.Bool().Draw(rt, "sent") {
		args["p"] = rapid.SampledFrom(worldRaw).Draw(rt, "raw")
	}
	broken := w.table.Access(c.p, s).Arguments(tool, func(name string) ([]byte, bool) {
		raw, ok := args[name]
		return []byte(raw), ok
	})
	if want := w.model.tool(c.ways, s.Name, tool, args); (broken == nil) != want {
		rt.Errorf("%s calls %s of %s with %v: %+v, want allowed %v", c.p.Name, tool, s.Name, args, broken, want)
	}
}

// compareExplained holds the verdict against Access, and the levels against the verdict of callers with one way.
func (w *world) compareExplained(rt *rapid.T, c caller, s *table.Server, tool string, may bool) {
	steps := w.table.Explain(c.p, s, tool)
	last := steps[len(steps)-1]
	all := true
	for _, st := range steps[:len(steps)-1] {
		all = all && st.Verdict == table.Granted
		if st.Why == "" || st.Level == "" || st.Subject == "" {
			rt.Errorf("a step says nothing: %+v", st)
		}
	}
	if last.Level != "verdict" || (last.Verdict == table.Granted) != may || len(c.ways) == 1 && all != may {
		rt.Errorf("tool %s is %v, explained as %s", tool, may, fmt.Sprint(steps))
	}
}

// However wide one level is, another that is narrower holds.
func TestNoLevelOpensMoreThanAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.live(rt)
		p := w.table.Principal(sha256.Sum256([]byte("secret")))
		if p == nil || p.Team == "" {
			return
		}
		alone := &table.Principal{ID: p.ID, Name: p.Name, Grants: p.Grants}
		team := &table.Principal{ID: p.ID, Name: p.Name, Grants: []*table.Grant{table.Everything}, Team: p.Team}
		for s := range w.table.Servers() {
			both, a, b := w.table.Access(p, s), w.table.Access(alone, s), w.table.Access(team, s)
			if both.Open() && (!a.Open() || !b.Open()) || both.Free() && (!a.Free() || !b.Free()) {
				rt.Errorf("server %s: %+v of %+v and %+v", s.Name, both, a, b)
			}
			for _, tool := range worldTools {
				if both.Tool(tool) != (a.Tool(tool) && b.Tool(tool)) {
					rt.Errorf("tool %s of %s", tool, s.Name)
				}
			}
		}
	})
}
