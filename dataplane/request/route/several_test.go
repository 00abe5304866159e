package route_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

type named interface {
	proto.Message
	GetName() string
}

func object(t *testing.T, kind string, m named) confset.Object {
	t.Helper()
	b, err := rules.Body(m)
	if err != nil {
		t.Fatal(err)
	}
	return confset.Object{Key: confset.Key{Kind: kind, Name: m.GetName()}, UID: m.GetName(), Hash: confset.HashBody(b), Body: b}
}

// grouped are so many servers in the groups all, and even or odd; "pair" is a toolset of the first two.
func grouped(t *testing.T, n int) *table.Table {
	t.Helper()
	var d confset.Delta
	for i := range n {
		spec := &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:1/mcp"}}, AccessGroups: []string{"all", []string{"even", "odd"}[i%2]}}
		d.Upserts = append(d.Upserts, object(t, "server", &configv1.Server{Name: fmt.Sprintf("s%d", i), Spec: spec}))
	}
	d.Upserts = append(d.Upserts, object(t, "toolset", &configv1.Toolset{Name: "pair", Spec: &configv1.ToolsetSpec{
		Tools: []*configv1.ToolsetTool{{Server: "s0", Tool: "a"}, {Server: "s1", Tool: "b"}, {Server: "gone", Tool: "c"}}}}))
	tb, _ := table.New(table.Config{Region: "eu"}).Apply(d, 1, table.Version{Revision: 1})
	return tb
}

func TestWhichServersAnEndpointOfSeveralHas(t *testing.T) {
	tb := grouped(t, 6)
	some := granted("s1", "s2", "s4")
	for _, c := range []struct {
		p                *table.Principal
		at, narrow, have string
	}{
		{everybody, "", "", "s0 s1 s2 s3 s4 s5"},
		{some, "", "", "s1 s2 s4"},
		{everybody, "even", "", "s0 s2 s4"},
		{some, "even", "", "s2 s4"},
		{some, "odd,even,s1,s1", "", "s1 s2 s4"},
		{some, "s4,s2", "", "s2 s4"},
		{some, "s4,s3", "", "none"},
		{granted("s1"), "even", "", "none"},
		{everybody, "nothing", "", "none"},
		{everybody, ",", "", "none"},
		{everybody, "pair", "", "s0 s1"},
		{some, "pair", "", "s1"},
		{granted("s4"), "pair", "", "none"},
		{everybody, "pair", "even", "s0"},
		{everybody, "pair", "s4", "none"},
		{everybody, "even", "s0,s1,all,nothing", "s0 s2 s4"},
		{everybody, "even", "s0,s1", "s0"},
		{everybody, "even", "odd", "none"},
		{some, "", "odd", "s1"},
		{some, "all", "s3", "none"},
	} {
		door := endpoint.Endpoint{Kind: endpoint.Server, Name: c.at}
		if c.at == "" {
			door.Kind = endpoint.Aggregate
		} else if strings.Contains(c.at, ",") {
			door.Kind = endpoint.List
		}
		s, err := route.Several(tb, c.p, door, []string{c.narrow}, route.Place{Region: "eu"})
		var have, one []string
		for _, m := range s.Members() {
			have = append(have, m.Server.Name)
		}
		for i := range 6 {
			if m, ok := s.Member(fmt.Sprintf("s%d", i)); ok {
				one = append(one, m.Server.Name)
			}
		}
		if got := strings.Join(have, " "); (err != nil) != (c.have == "none") || err == nil && (got != c.have || !slices.Equal(have, one)) {
			t.Errorf("%q narrowed to %q: %v, one by one %v, %v", c.at, c.narrow, have, one, err)
		}
	}
}

func TestACallCostsTheSameHoweverManyServersAGroupHas(t *testing.T) {
	allocations := func(n int) float64 {
		tb := grouped(t, n)
		door := endpoint.Endpoint{Kind: endpoint.Server, Name: "all"}
		return testing.AllocsPerRun(100, func() {
			s, err := route.Several(tb, everybody, door, nil, route.Place{Region: "eu"})
			if _, _, ok := s.Tool("s1-echo", nil); err != nil || !ok {
				t.Fatal(err, "not found")
			}
		})
	}
	if few, many := allocations(2), allocations(500); few != many || many > 3 {
		t.Errorf("%v allocations with 2 servers, %v with 500", few, many)
	}
}
