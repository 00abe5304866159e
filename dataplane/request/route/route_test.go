package route_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// servers are a table of region eu; "faraway" has no endpoint there, "inhouse" is for
// internal callers, and "branch" for those from 198.51.100.0/24.
func servers(t *testing.T, names ...string) *table.Table {
	t.Helper()
	var d confset.Delta
	for _, name := range names {
		ep := &configv1.Endpoint{Url: "http://127.0.0.1:1/mcp"}
		if name == "faraway" {
			ep.Regions = []string{"us"}
		}
		spec := &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{ep}}
		switch name {
		case "inhouse":
			spec.ReachableFrom = "internal"
		case "branch":
			spec.AllowedCidrs = []string{"198.51.100.0/24"}
		}
		body, err := rules.Body(&configv1.Server{Name: name, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		d.Upserts = append(d.Upserts, confset.Object{Key: confset.Key{Kind: "server", Name: name}, UID: name, Hash: confset.HashBody(body), Body: body})
	}
	tb, _ := table.New(table.Config{Region: "eu"}).Apply(d, 1, table.Version{Revision: 1})
	return tb
}

func granted(names ...string) *table.Principal {
	g := &table.Grant{Servers: map[string]struct{}{}}
	for _, n := range names {
		g.Servers[n] = struct{}{}
	}
	return &table.Principal{Grants: []*table.Grant{g}}
}

var (
	everybody = &table.Principal{Grants: []*table.Grant{table.Everything}}
	outside   = netip.MustParseAddr("203.0.113.7")
)

// match asks from outside.
func match(tb *table.Table, p *table.Principal, name string) (*table.Server, error) {
	s, a, err := route.Match(tb, p, name, "eu", false, outside)
	if (err == nil) != a.Open() {
		return nil, errors.New("a match without access, or access without a match")
	}
	return s, err
}

func TestWhichServerARequestIsFor(t *testing.T) {
	tb := servers(t, "github", "gitlab", "everything", "faraway")
	all := everybody
	for _, c := range []struct {
		name, asked string
		p           *table.Principal
		want        string // the fault's header, "" for a match
		hint        string // part of the fault's hint
	}{
		{"granted by name", "github", granted("github"), "", ""},
		{"granted by star", "everything", all, "", ""},
		{"unknown", "nothing_alike", all, "hop=gateway; phase=route; kind=not_found", "hopgate get servers"},
		{"unknown, one letter off", "githup", all, "hop=gateway; phase=route; kind=not_found", "did you mean github?"},
		{"unknown, old spelling", "Every-thing", all, "hop=gateway; phase=route; kind=not_found", "did you mean everything?"},
		{"not granted reads like unknown", "github", granted("everything"), "hop=gateway; phase=route; kind=not_found", "hopgate get servers"},
		{"suggestions only among what is granted", "gitlub", granted("gitlab"), "hop=gateway; phase=route; kind=not_found", "did you mean gitlab?"},
		{"no endpoint here", "faraway", all, "hop=gateway; phase=route; kind=unreachable; server=faraway", "region"},
		{"no endpoint here and not granted", "faraway", granted("github"), "hop=gateway; phase=route; kind=not_found", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := match(tb, c.p, c.asked)
			if c.want == "" {
				if err != nil || s.Name != c.asked {
					t.Errorf("got %v, %v", s, err)
				}
				return
			}
			f := fault.As(err)
			if s != nil || f == nil || f.Header() != c.want || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
}

func TestUnknownAndNotGrantedAreOneAnswer(t *testing.T) {
	tb, p := servers(t, "secret_one", "mine"), granted("mine")
	_, unknown := match(tb, p, "secret_two")
	_, denied := match(tb, p, "secret_one")
	a, b := fault.As(unknown), fault.As(denied)
	if strings.ReplaceAll(a.Message, "two", "one") != b.Message || a.Hint != b.Hint || a.HTTPStatus() != b.HTTPStatus() || a.Header() != b.Header() {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestLongNamesAreOnlyUnknown(t *testing.T) {
	tb := servers(t, "a", "mine")
	if _, err := match(tb, everybody, strings.Repeat("a", 300)); fault.As(err) == nil {
		t.Error(err)
	}
}

func TestWhereTheCallerIsDecidesWhatItSees(t *testing.T) {
	tb := servers(t, "inhouse", "branch", "github")
	near, none := netip.MustParseAddr("198.51.100.9"), netip.Addr{}
	for _, c := range []struct {
		server   string
		internal bool
		client   netip.Addr
		seen     bool
	}{
		{"inhouse", false, outside, false},
		{"inhouse", false, near, false},
		{"inhouse", true, outside, true},
		{"inhouse", true, none, true},
		{"branch", true, outside, false},
		{"branch", false, near, true},
		{"branch", false, netip.MustParseAddr("::ffff:198.51.100.9"), true},
		{"branch", true, none, false},
		{"github", false, none, true},
	} {
		s, a, err := route.Match(tb, everybody, c.server, "eu", c.internal, c.client)
		if (err == nil) != c.seen || (s != nil) != c.seen || a.Open() != c.seen {
			t.Errorf("%+v: %v, %v", c, s, err)
		}
	}
}

func TestNotReachableFromThereReadsLikeUnknown(t *testing.T) {
	tb := servers(t, "inhouse", "github")
	_, unknown := match(tb, everybody, "inhouze")
	_, hidden := match(tb, everybody, "inhouse")
	a, b := fault.As(unknown), fault.As(hidden)
	if strings.ReplaceAll(a.Message, "inhouze", "inhouse") != b.Message || a.Hint != b.Hint || a.HTTPStatus() != 404 || b.HTTPStatus() != 404 || a.Header() != b.Header() {
		t.Errorf("%+v\n%+v", a, b)
	}
	_, _, err := route.Match(tb, everybody, "inhouze", "eu", true, outside)
	if f := fault.As(err); f == nil || f.Hint != "did you mean inhouse?" {
		t.Errorf("from inside: %+v", f)
	}
}
