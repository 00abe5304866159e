package table_test

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// callersAtWork are a table of 2,000 servers and keys of each sort.
func callersAtWork(tb testing.TB) *table.Table {
	tb.Helper()
	rules := []*configv1.ToolRule{{Server: "server_0001", Allow: []string{"search_*", "read_*"}, Deny: []string{"read_secret"}}, {Server: "*", Deny: []string{"delete_*"}}}
	t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(tb, 1000), 1, table.Version{})
	t, outs := apply(t, apikey(tb, "plain", "plain", func(s *configv1.ApiKeySpec) { s.Servers = []string{"server_0001", "server_0002", "server_0003"} }),
		apikey(tb, "member", "member", func(s *configv1.ApiKeySpec) { s.Servers, s.Team = []string{"server_0001", "server_0002"}, "core" }),
		apikey(tb, "ruled", "ruled", func(s *configv1.ApiKeySpec) {
			s.Servers, s.Team, s.Tools = []string{"server_0001", "server_0002"}, "core", rules
		}),
		apikey(tb, "tools", "tools", func(s *configv1.ApiKeySpec) { s.Servers, s.Team, s.Toolsets = nil, "core", []string{"set"} }),
		toolset(tb, "set", "server_0001 search_issues", "server_0001 read_issue", "server_0002 x"),
		team(tb, "core", &configv1.TeamSpec{Servers: []string{"server_0001"}}))
	if len(outs) > 0 {
		tb.Fatal(outs)
	}
	return t
}

// What a request asks: the server, then the tool unless nothing is restricted. Goals: plain under 60 ns, ruled under 300 ns, no allocation.
func BenchmarkAccess(b *testing.B) {
	t := callersAtWork(b)
	s, _ := t.Server("server_0001")
	for _, who := range []string{"plain", "member", "ruled", "tools"} {
		b.Run(who, func(b *testing.B) {
			p := holder(b, t, who)
			b.ReportAllocs()
			for b.Loop() {
				if a := t.Access(p, s); !a.Free() && !a.Tool("search_issues") {
					b.Fatal("closed")
				}
			}
		})
	}
}

func BenchmarkListedTools(b *testing.B) {
	t := callersAtWork(b)
	s, _ := t.Server("server_0001")
	a := t.Access(holder(b, t, "ruled"), s)
	var names [200]string
	for i := range names {
		names[i] = fmt.Sprint("search_", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, n := range names {
			a.Tool(n)
		}
	}
}

func BenchmarkAppendLimits(b *testing.B) {
	t := callersAtWork(b)
	s, _ := t.Server("server_0001")
	p := holder(b, t, "plain")
	var room [8]*table.Limit
	b.ReportAllocs()
	for b.Loop() {
		t.AppendLimits(room[:0], p, s, "search_issues")
	}
}

func TestAccessAllocatesNothing(t *testing.T) {
	tab := callersAtWork(t)
	s, _ := tab.Server("server_0001")
	for _, who := range []string{"plain", "member", "ruled", "tools"} {
		p := holder(t, tab, who)
		if n := testing.AllocsPerRun(100, func() {
			a := tab.Access(p, s)
			a.Tool("search_issues")
			a.Arguments("search_issues", func(string) ([]byte, bool) { return nil, false })
		}); n > 0 {
			t.Errorf("%s: %v allocations", who, n)
		}
	}
}
