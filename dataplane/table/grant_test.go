package table_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// grouped is a server in some access groups.
func grouped(groups ...string) *configv1.ServerSpec {
	s := spec(at("http://h/"))
	s.AccessGroups = groups
	return s
}

func TestRemovingAServerIsNotUndoneByToolGrants(t *testing.T) {
	rule := []*configv1.ToolRule{{Server: "a", Allow: []string{"search"}}}
	tab, outs := apply(empty(), server(t, "a", grouped()), toolset(t, "set", "b search"),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Tools = []string{"a"}, rule }))
	if !access(t, tab, "key", "a").Tool("search") || len(outs) > 0 {
		t.Fatalf("not granted to begin with: %q", outs)
	}
	tab, _ = apply(tab, apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Tools, s.Toolsets = nil, rule, []string{"set"} }))
	if a := access(t, tab, "key", "a"); a.Open() || a.Tool("search") {
		t.Error("rules for tools opened the server again")
	}
	tab, _ = apply(tab, apikey(t, "k", "key"))
	tab, _ = remove(tab, "server", "a")
	if _, there := tab.Server("a"); there || access(t, tab, "key", "a").Open() {
		t.Error("a removed server is still open")
	}
}

func TestRemovingAToolsetOrATeamTakesEffect(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", grouped()), toolset(t, "set", "a search"), team(t, "core", &configv1.TeamSpec{Servers: []string{"*"}}),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Toolsets, s.Team = nil, []string{"set"}, "core" }))
	if a := access(t, tab, "key", "a"); !a.ToolsOnly() || !a.Tool("search") || a.Tool("other") {
		t.Fatalf("%+v", a)
	}
	without, _ := remove(tab, "toolset", "set")
	if access(t, without, "key", "a").Open() {
		t.Error("the toolset is gone, its tool is open")
	}
	if without, _ = remove(tab, "team", "core"); access(t, without, "key", "a").Open() {
		t.Error("the team is gone, and opens something")
	}
	bad, outs := apply(tab, team(t, "core", &configv1.TeamSpec{Servers: []string{"*"}, Tools: []*configv1.ToolRule{{Server: "a", Deny: []string{"*x"}}}}))
	if access(t, bad, "key", "a").Open() || !prefixes(outs, []string{"team/core rejected spec.tools[0].deny[0]:"}) {
		t.Errorf("a rejected team opens something; %q", outs)
	}
	bad, outs = apply(tab, toolset(t, "set"))
	if access(t, bad, "key", "a").Open() || !prefixes(outs, []string{"toolset/set rejected spec.tools:"}) {
		t.Errorf("a rejected toolset opens something; %q", outs)
	}
	if !access(t, tab, "key", "a").Tool("search") {
		t.Error("the table in between has changed")
	}
}

func TestEditingAServerNeverStripsATeamsAccess(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", grouped("dev")), team(t, "core", &configv1.TeamSpec{Groups: []string{"dev"}}),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"a"}, "core" }))
	for i, edit := range []*configv1.ServerSpec{grouped("dev", "ops"), {Endpoints: []*configv1.Endpoint{at("ftp://bad/")}}, grouped("dev")} {
		tab, _ = apply(tab, server(t, "a", edit))
		if a := access(t, tab, "key", "a"); !a.Free() {
			t.Errorf("edit %d stripped access: %+v", i, a)
		}
	}
	if tab, _ = apply(tab, server(t, "a", grouped("ops"))); access(t, tab, "key", "a").Open() {
		t.Error("the group is gone, and still opens the server")
	}
}

func TestChangingURLOrAuthKeepsEveryGrant(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", grouped("dev")), toolset(t, "set", "a search"), apikey(t, "k", "by name"),
		apikey(t, "l", "by group", func(s *configv1.ApiKeySpec) { s.Servers, s.Groups = nil, []string{"dev"} }),
		apikey(t, "m", "by toolset", func(s *configv1.ApiKeySpec) { s.Servers, s.Toolsets = nil, []string{"set"} }))
	moved := grouped("dev")
	moved.Endpoints[0].Url = "https://elsewhere.example.com/v2"
	moved.Auth = &configv1.Auth{Type: "bearer", Value: &configv1.Value{Secret: "token"}}
	tab, outs := apply(tab, server(t, "a", moved))
	for _, key := range []string{"by name", "by group", "by toolset"} {
		if !access(t, tab, key, "a").Tool("search") {
			t.Errorf("the grant %s is gone; %q", key, outs)
		}
	}
}

func TestTeamGroupsCountAndAreNotTooWide(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", grouped("dev")), server(t, "b", grouped("ops")), server(t, "c", grouped()),
		team(t, "core", &configv1.TeamSpec{Groups: []string{"dev"}, Servers: []string{"c"}}),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"*"}, "core" }))
	for name, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if a := access(t, tab, "key", name); a.Open() != want || a.Free() != want {
			t.Errorf("server %s: %+v", name, a)
		}
	}
}

func TestEmptyMeansNone(t *testing.T) {
	none := func(s *configv1.ApiKeySpec) { s.Servers = nil }
	tab, _ := apply(empty(), server(t, "a", grouped("dev")), team(t, "nobody", nil), apikey(t, "k", "key", none),
		apikey(t, "l", "ruled", none, func(s *configv1.ApiKeySpec) { s.Tools = []*configv1.ToolRule{{Server: "*", Allow: []string{"*"}}} }),
		apikey(t, "m", "member", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"*"}, "nobody" }),
		apikey(t, "n", "stray", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"*"}, "missing" }))
	for _, key := range []string{"key", "ruled", "member", "stray"} {
		if a := access(t, tab, key, "a"); a.Open() || a.Free() || a.Tool("x") || a.Arguments("x", nil) == nil {
			t.Errorf("%s: %+v", key, a)
		}
	}
	if (table.Access{}).Open() || tab.Access(nil, nil).Open() || tab.Access(&table.Principal{}, &table.Server{Name: "a"}).Open() {
		t.Error("nothing opens something")
	}
}

func TestAKeyCannotGetWhatItsTeamLacks(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", grouped()), server(t, "b", grouped()), toolset(t, "set", "b search", "b write"),
		team(t, "core", &configv1.TeamSpec{Servers: []string{"a"}, Toolsets: []string{"set"}, Tools: []*configv1.ToolRule{{Server: "b", Deny: []string{"wr*"}}}}),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"*"}, "core" }))
	if a := access(t, tab, "key", "b"); !a.ToolsOnly() || !a.Tool("search") || a.Tool("write") || a.Tool("other") {
		t.Errorf("%+v", a)
	}
	if !access(t, tab, "key", "a").Free() {
		t.Error("what both open is closed")
	}
}

// A rule for arguments can't be got round by how the value is written.
func TestRulesForArguments(t *testing.T) {
	rules := []*configv1.ToolRule{{Server: "a", Parameters: []*configv1.ParameterRule{
		{Tool: "read*", Parameter: "path", Values: []string{"docs/*", "README", "null"}, Required: true},
		{Tool: "read_file", Parameter: "follow"},
		{Tool: "*", Parameter: "depth", Values: []string{"1", "true"}}}}}
	tab, outs := apply(empty(), server(t, "a", grouped()), apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Tools = rules }))
	if len(outs) > 0 {
		t.Fatal(outs)
	}
	a := access(t, tab, "key", "a")
	if a.Free() || !a.Tool("read_file") {
		t.Errorf("%+v", a)
	}
	for _, c := range []struct {
		tool string
		args map[string]string
		want string // parameter and problem
	}{
		{"read_file", map[string]string{"path": `"docs/a"`}, ""},
		{"read_file", map[string]string{"path": `"README"`, "depth": "1"}, ""},
		{"read_file", map[string]string{"path": `"doc\u0073/a"`, "depth": "true"}, ""},
		{"read_file", map[string]string{"path": `"README"`, "depth": `"1"`}, ""},
		{"read_file", nil, "path must be sent"},
		{"read_file", map[string]string{"path": `"README.md"`}, "path doesn't have one of the values that a grant allows"},
		{"read_file", map[string]string{"path": `"../docs/"`}, "path doesn't have one of the values that a grant allows"},
		{"read_file", map[string]string{"path": `["README"]`}, "path doesn't have one of the values that a grant allows"},
		{"read_file", map[string]string{"path": `null`}, "path doesn't have one of the values that a grant allows"},
		{"read_file", map[string]string{"path": ``}, "path doesn't have one of the values that a grant allows"},
		{"read_file", map[string]string{"path": `"README"`, "follow": "false"}, "follow may not be sent"},
		{"read_file", map[string]string{"path": `"README"`, "depth": "1.0"}, "depth doesn't have one of the values that a grant allows"},
		{"list", map[string]string{"follow": "true"}, ""},
		{"list", map[string]string{"depth": "2"}, "depth doesn't have one of the values that a grant allows"},
	} {
		got := ""
		if b := a.Arguments(c.tool, func(n string) ([]byte, bool) { raw, ok := c.args[n]; return []byte(raw), ok }); b != nil {
			got = b.Parameter + " " + b.Problem
		}
		if got != c.want {
			t.Errorf("%s with %v: %q, want %q", c.tool, c.args, got, c.want)
		}
	}
}

// Of two claims that open a tool, each with rules of its own, one whose rules hold is enough; half of each is not.
func TestClaimsAddUpWhole(t *testing.T) {
	rule := func(allow string, value string) []*configv1.ToolRule {
		return []*configv1.ToolRule{{Server: "a", Allow: []string{allow}, Parameters: []*configv1.ParameterRule{{Tool: "*", Parameter: "p", Values: []string{value}}}}}
	}
	tab, outs := apply(empty(), server(t, "a", grouped()), server(t, "b", grouped()), team(t, "narrow", &configv1.TeamSpec{Servers: []string{"b"}}),
		provider(t, "okta", &configv1.IdentityProviderSpec{Issuer: "https://okta.example.com", Audiences: []string{"x"}, Grants: []*configv1.ClaimGrant{
			{Servers: []string{"a"}, Tools: rule("read", "1")},
			{Claim: "groups", Value: "dev", Servers: []string{"a"}, Tools: rule("*", "2")},
			{Claim: "groups", Value: "all", Servers: []string{"*"}, Team: "narrow"}}}))
	okta, ok := tab.Provider("https://okta.example.com")
	if !ok || len(outs) > 0 {
		t.Fatal(outs)
	}
	p := &table.Principal{Name: "ann", Grants: []*table.Grant{okta.Grants[0].Grant, okta.Grants[1].Grant, okta.Grants[2].Grant}}
	a, _ := tab.Server("a")
	b, _ := tab.Server("b")
	send := func(v string) func(string) ([]byte, bool) {
		return func(string) ([]byte, bool) { return []byte(v), true }
	}
	got := tab.Access(p, a)
	if got.Free() || !got.Tool("read") || !got.Tool("write") || got.Arguments("read", send("1")) != nil || got.Arguments("read", send("2")) != nil ||
		got.Arguments("write", send("2")) != nil || got.Arguments("write", send("1")) == nil {
		t.Errorf("%+v", got)
	}
	if !tab.Access(p, b).Free() {
		t.Error("the third claim and its team open b")
	}
}

func TestExplainNamesWhatOpensAndWhatCloses(t *testing.T) {
	tab, _ := apply(empty(), server(t, "github", grouped("dev")), server(t, "wiki", grouped()), toolset(t, "set", "wiki search"),
		team(t, "core", &configv1.TeamSpec{Servers: []string{"wiki"}}),
		team(t, "ops", &configv1.TeamSpec{Servers: []string{"*"}, Tools: []*configv1.ToolRule{{Server: "github", Deny: []string{"delete_*"},
			Parameters: []*configv1.ParameterRule{{Tool: "push", Parameter: "branch", Values: []string{"main"}}}}}}),
		apikey(t, "ci", "ci", func(s *configv1.ApiKeySpec) {
			s.Servers, s.Groups, s.Toolsets, s.Team = nil, []string{"dev"}, []string{"set"}, "core"
		}),
		apikey(t, "op", "op", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"github"}, "ops" }),
		apikey(t, "lost", "lost", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"github"}, "gone" }),
		apikey(t, "none", "none", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = nil, "ops" }))
	for _, c := range []struct{ key, server, tool, want string }{
		{"ci", "github", "", `key ci granted: opens server github by group dev
team core denied: doesn't open server github: neither its name, nor a group of it, nor a toolset with tools of it is named
verdict ci denied: reaches nothing of server github: each level must open the same`},
		{"ci", "wiki", "", `key ci tools only: opens some tools of server wiki by toolset set
team core granted: opens server wiki by name
verdict ci tools only: may use some tools of server wiki, and neither prompts nor resources`},
		{"ci", "wiki", "write", `key ci denied: opens just the tools of server wiki in toolset set and others it names, and tool write is in none
team core granted: opens tool write of server wiki by name
verdict ci denied: may not use tool write: each level must open it`},
		{"op", "github", "delete_repo", `key op granted: opens tool delete_repo of server github by name
team ops denied: opens server github by "*", but denies tool delete_repo by the rule deny: delete_*
verdict op denied: may not use tool delete_repo: each level must open it`},
		{"op", "github", "push", `key op granted: opens tool push of server github by name
team ops granted: opens tool push of server github by "*"; its rules bound the arguments branch
verdict op granted: may use tool push of server github`},
		{"op", "github", "", `key op granted: opens server github by name
team ops granted: opens server github by "*"; its rules narrow the tools
verdict op granted: may use server github`},
		{"lost", "github", "", `key lost granted: opens server github by name
team gone denied: doesn't exist here, or was rejected: nothing is open to its members
verdict lost denied: reaches nothing of server github: each level must open the same`},
		{"none", "github", "", `key none denied: doesn't open server github: neither its name, nor a group of it, nor a toolset with tools of it is named
team ops granted: opens server github by "*"; its rules narrow the tools
verdict none denied: reaches nothing of server github: each level must open the same`},
	} {
		s, _ := tab.Server(c.server)
		var got []string
		for _, st := range tab.Explain(holder(t, tab, c.key), s, c.tool) {
			got = append(got, st.Level+" "+st.Subject+" "+st.Verdict+": "+st.Why)
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
		}
	}
}

func TestLimitsThatACallCountsAgainst(t *testing.T) {
	limited := func(rate string) *configv1.CallLimits { return &configv1.CallLimits{Rate: rate} }
	s := grouped()
	s.Limits, s.ToolLimits = limited("30/s"), []*configv1.ToolLimits{{Tool: "search", Limits: &configv1.CallLimits{Rate: "60/m", Concurrency: 2}}}
	tab, outs := apply(empty(), server(t, "a", s), server(t, "b", grouped()), team(t, "core", &configv1.TeamSpec{Servers: []string{"*"}, Limits: limited("20/s")}),
		team(t, "rest", &configv1.TeamSpec{Servers: []string{"b"}, Limits: limited("5/s")}), team(t, "free", &configv1.TeamSpec{Servers: []string{"*"}}),
		apikey(t, "k", "key", func(s *configv1.ApiKeySpec) { s.Servers, s.Team, s.Limits = []string{"*"}, "core", limited("10/s") }),
		apikey(t, "l", "unlimited", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"*"}, "free" }))
	if len(outs) > 0 {
		t.Fatal(outs)
	}
	own := &table.Limit{ID: "jwt/0"}
	grant := func(team string) *table.Grant { return &table.Grant{All: true, Team: team} }
	token := &table.Principal{Limit: own, Grants: []*table.Grant{grant("core"), grant("rest"), grant("core"), grant("free"), grant("gone")}}
	ruled := &table.Principal{Grants: []*table.Grant{{All: true, Team: "rest", Always: []table.ToolRule{{Deny: []table.Pattern{{Text: "search"}}}}}}}
	for _, c := range []struct {
		who          string
		p            *table.Principal
		server, tool string
		want         string
	}{
		{"key", holder(t, tab, "key"), "a", "search", "key/uid-k team/core server/a tool/a/search"},
		{"key", holder(t, tab, "key"), "a", "other", "key/uid-k team/core server/a"},
		{"key", holder(t, tab, "key"), "b", "", "key/uid-k team/core"},
		{"unlimited", holder(t, tab, "unlimited"), "b", "search", ""},
		{"token", token, "a", "search", "jwt/0 team/core server/a tool/a/search"},
		{"token", token, "b", "search", "jwt/0 team/core team/rest"},
		{"ruled", ruled, "b", "search", ""},
		{"ruled", ruled, "b", "other", "team/rest"},
	} {
		s, _ := tab.Server(c.server)
		var ids []string
		for _, l := range tab.AppendLimits(nil, c.p, s, c.tool) {
			ids = append(ids, l.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s to %s %s: %q, want %q", c.who, c.server, c.tool, got, c.want)
		}
	}
	all := tab.AppendLimits(nil, holder(t, tab, "key"), func() *table.Server { s, _ := tab.Server("a"); return s }(), "search")
	subjects := []string{"the key k", "the team core", "the server a", "the tool search of the server a"}
	if !slices.EqualFunc(all, subjects, func(l *table.Limit, s string) bool { return l.Subject == s }) || all[3].Rate != 1 || all[3].Concurrency != 2 {
		t.Errorf("%+v", all[3])
	}
}
