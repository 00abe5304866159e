package route_test

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// servers are a table of region eu; "faraway" has no endpoint there.
func servers(t *testing.T, names ...string) *table.Table {
	t.Helper()
	var d confset.Delta
	for _, name := range names {
		ep := &configv1.Endpoint{Url: "http://127.0.0.1:1/mcp"}
		if name == "faraway" {
			ep.Regions = []string{"us"}
		}
		body, err := rules.Body(&configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{ep}}})
		if err != nil {
			t.Fatal(err)
		}
		d.Upserts = append(d.Upserts, confset.Object{Key: confset.Key{Kind: "server", Name: name}, UID: name, Hash: confset.HashBody(body), Body: body})
	}
	tb, _ := table.New(table.Config{Region: "eu"}).Apply(d, 1, table.Version{Revision: 1})
	return tb
}

func granted(names ...string) *table.Principal {
	p := &table.Principal{Servers: map[string]struct{}{}}
	for _, n := range names {
		p.Servers[n] = struct{}{}
	}
	return p
}

func TestWhichServerARequestIsFor(t *testing.T) {
	tb := servers(t, "github", "gitlab", "everything", "faraway")
	all := &table.Principal{All: true}
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
			s, err := route.Match(tb, c.p, c.asked, "eu")
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
	_, unknown := route.Match(tb, p, "secret_two", "eu")
	_, denied := route.Match(tb, p, "secret_one", "eu")
	a, b := fault.As(unknown), fault.As(denied)
	if strings.ReplaceAll(a.Message, "two", "one") != b.Message || a.Hint != b.Hint || a.HTTPStatus() != b.HTTPStatus() || a.Header() != b.Header() {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestLongNamesAreOnlyUnknown(t *testing.T) {
	tb := servers(t, "a", "mine")
	if _, err := route.Match(tb, &table.Principal{All: true}, strings.Repeat("a", 300), "eu"); fault.As(err) == nil {
		t.Error(err)
	}
}
