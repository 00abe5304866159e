package gather_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/route"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/names"
)

// Red when nothing is told, when the server doesn't count as well, and when who may use a part of it hears of the rest.
func TestWhatAServerListsInVainIsToldInItsOutcome(t *testing.T) {
	objs := tabled(t, server(t, "a", nil), server(t, "b", nil), key(t, &configv1.ApiKeySpec{Servers: []string{"*"}}))
	s := scope(t, objs, "")
	odd := listed("name", "read")
	odd.Nameless, odd.Twice = 2, 1
	outcomes := []gather.Outcome{{Server: "a", Status: gather.OK}, {Server: "b", Status: gather.OK}}
	p := ask(t, gather.Page{Scope: s, Kind: catalogue.Tools, Most: 100, Outcomes: outcomes,
		Parts: parts(s, map[string]*catalogue.List{"a": odd, "b": listed("name", "read")})})
	told := p.Result.Meta["hopgate.dev/outcomes"]
	want := "the server lists items that are left out: 2 without a name that it could be called by, 1 with the name of another"
	if told["a"]["warning"] != want || told["a"]["status"] != gather.OK || told["b"]["warning"] != nil || outcomes[0].Warning != "" {
		t.Errorf("%v, %+v", told, outcomes)
	}
}

// Red when a name goes out that model APIs refuse, and when what is listed can't be called by its name.
func TestUnusableNamesAreListedAndCalledUnderOthers(t *testing.T) {
	s := scope(t, tabled(t, server(t, "a", nil), key(t, everything())), "")
	own := []string{"read", "sp ace", "x/y", "ünï", names.Expose("a", "sp ace")[2:]}
	list := listed("name", own...)
	p := ask(t, gather.Page{Scope: s, Kind: catalogue.Tools, Parts: parts(s, map[string]*catalogue.List{"a": list}), Most: 100})
	all := func(*route.Member) iter.Seq[string] { return list.Names() }
	var called []string
	for _, shown := range p.names() {
		_, tool, ok := s.Tool(shown, all)
		if !ok || !names.Usable(shown) {
			t.Errorf("%q is listed, and callable: %v", shown, ok)
		}
		called = append(called, tool)
	}
	slices.Sort(called)
	if want := []string{"read", "sp ace", "x/y", "ünï"}; !slices.Equal(called, want) {
		t.Errorf("%q are called, want %q", called, want)
	}
	if _, _, ok := s.Tool("a-sp ace", all); ok {
		t.Error("it is callable by a name that isn't listed")
	}
}
