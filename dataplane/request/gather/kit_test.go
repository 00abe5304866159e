package gather_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const carol = "sk-carol-0123456789abcdef"

var holder = sha256.Sum256([]byte(carol))

func object(tb testing.TB, kind, name string, m proto.Message) confset.Object {
	tb.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, body)
}

func server(tb testing.TB, name string, tools *configv1.ServerTools) confset.Object {
	return object(tb, "server", name, &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Tools: tools,
		Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:1/mcp"}}}})
}

func key(tb testing.TB, spec *configv1.ApiKeySpec) confset.Object {
	spec.Sha256 = hex.EncodeToString(holder[:])
	return object(tb, "apikey", "carol", &configv1.ApiKey{Name: "carol", Spec: spec})
}

func toolset(tb testing.TB, name string, tools ...*configv1.ToolsetTool) confset.Object {
	return object(tb, "toolset", name, &configv1.Toolset{Name: name, Spec: &configv1.ToolsetSpec{Tools: tools}})
}

// tabled returns a table of these objects; none is rejected.
func tabled(tb testing.TB, objs ...confset.Object) *table.Table {
	tb.Helper()
	t, outcomes := table.New(table.Config{}).Apply(confset.Delta{Upserts: objs}, 1, table.Version{})
	for _, o := range outcomes {
		if o.Rejected {
			tb.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	return t
}

// scope is the aggregate for carol, or a toolset of that name.
func scope(tb testing.TB, t *table.Table, set string) *route.Scope {
	tb.Helper()
	s := &route.Scope{Table: t, Principal: t.Principal(holder)}
	if s.Principal == nil {
		tb.Fatal("nobody holds the key")
	}
	if set != "" {
		var ok bool
		if s.Toolset, ok = t.Toolset(set); !ok {
			tb.Fatalf("no toolset %s", set)
		}
	}
	return s
}

// listed is a list of items with these names.
func listed(member string, names ...string) *catalogue.List {
	l := &catalogue.List{}
	for _, name := range slices.Sorted(slices.Values(names)) {
		quoted, _ := json.Marshal(name) //nolint:errcheck // a string
		l.Items = append(l.Items, message.Item{Name: name, Raw: []byte(fmt.Sprintf(`{"x":1, %q:%s}`, member, quoted))})
	}
	return l
}

// parts joins the members of a scope with what their servers list.
func parts(s *route.Scope, lists map[string]*catalogue.List) (out []gather.ListPart) {
	for _, m := range s.Members() {
		out = append(out, gather.ListPart{Member: m, List: lists[m.Server.Name]})
	}
	return out
}

// seal makes a cursor that anyone can read.
func seal(c session.Cursor) (string, error) {
	return c.Method + "|" + c.Server + "|" + c.Item, nil
}

func unseal(s string) (c session.Cursor) {
	c.Method, s, _ = strings.Cut(s, "|")
	c.Server, c.Item, _ = strings.Cut(s, "|")
	return c
}

// page is an answer as a client reads it.
type page struct {
	Result struct {
		ResultType string
		Tools      []item
		Prompts    []item
		Resources  []item
		Templates  []item `json:"resourceTemplates"`
		NextCursor *string
		TTL        *int64 `json:"ttlMs"`
		CacheScope string
		Meta       map[string]map[string]map[string]any `json:"_meta"`
	}
}

type item struct{ Name, URI, URITemplate, Description string }

func read(tb testing.TB, b []byte) (p page) {
	tb.Helper()
	if err := json.Unmarshal(b, &p); err != nil {
		tb.Fatalf("%v: %s", err, b)
	}
	return p
}

// names returns what a page lists, of whichever kind.
func (p *page) names() (out []string) {
	r := &p.Result
	for _, list := range [][]item{r.Tools, r.Prompts, r.Resources, r.Templates} {
		for _, it := range list {
			out = append(out, it.Name+it.URI+it.URITemplate)
		}
	}
	return out
}

// ask makes one page and reads it.
func ask(tb testing.TB, p gather.Page) page {
	tb.Helper()
	b, err := gather.AppendList(nil, []byte("1"), p, seal)
	if err != nil {
		tb.Fatal(err)
	}
	return read(tb, b)
}
