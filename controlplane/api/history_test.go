package api_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// serverAt is the JSON of a server at a port of this host.
func serverAt(name string, port int) string {
	return fmt.Sprintf(`{"server":{"name":%q,"spec":{"endpoints":[{"url":"http://127.0.0.1:%d/mcp"}]}}}`, name, port)
}

// change makes a change over REST and returns its id.
func (p *plane) change(body string) string {
	p.Helper()
	id := str(p.must(200, "POST", "/v1/changes", body), "id")
	if id == "" {
		p.Fatalf("%s changed nothing", body)
	}
	return id
}

// ids of the changes of a page.
func ids(page map[string]any) (out []string) {
	list, _ := at(page, "changes").([]any)
	for _, c := range list {
		out = append(out, str(c, "id"))
	}
	return out
}

func TestTheHistoryOfOneObject(t *testing.T) {
	p := start(t, memstore.New())
	a1 := p.change(`{"objects":[` + serverAt("a", 1) + `,` + serverAt("b", 1) + `]}`)
	p.change(`{"objects":[` + serverAt("b", 2) + `]}`)
	a2 := p.change(`{"objects":[` + serverAt("a", 2) + `]}`)
	a3 := p.change(`{"deletions":[{"kind":"server","name":"a"}]}`)
	want := []string{a3, a2, a1}
	got := p.must(200, "GET", "/v1/changes?object=server/a", "")
	if fmt.Sprint(ids(got)) != fmt.Sprint(want) || str(got, "next_page_token") != "" {
		t.Errorf("over REST: %v", got)
	}
	if got := p.must(200, "GET", "/v1/changes?object=Servers/a", ""); len(ids(got)) != 3 {
		t.Errorf("by the plural: %v", got)
	}
	var paged []string
	for token := ""; ; {
		page := p.must(200, "GET", "/v1/changes?object=server/a&page_size=1&page_token="+token, "")
		paged = append(paged, ids(page)...)
		if token = str(page, "next_page_token"); token == "" {
			break
		}
	}
	if fmt.Sprint(paged) != fmt.Sprint(want) {
		t.Errorf("page by page: %v", paged)
	}
	c, ctx := p.dial()
	if got, err := c.ListChanges(ctx, &adminv1.ListRequest{Object: "server/a"}); err != nil || len(got.GetChanges()) != 3 || got.GetChanges()[0].GetObjects()[0].GetAction() != "deleted" {
		t.Errorf("over gRPC: %v %v", got, err)
	}
	if got := p.must(200, "GET", "/v1/changes?object=server/never", ""); len(ids(got)) != 0 || at(got, "changes") == nil {
		t.Errorf("an object that never was: %v", got)
	}
}

func TestTheHistoryRefusesWhatMakesNoSense(t *testing.T) {
	p := start(t, memstore.New())
	for range 3 {
		p.change(`{"objects":[` + serverAt("a", 1) + `]}`)
		p.change(`{"deletions":[{"kind":"server","name":"a"}]}`)
	}
	token := str(p.must(200, "GET", "/v1/changes?object=server/a&page_size=1", ""), "next_page_token")
	const shape = "object: isn't KIND/NAME; write for example server/github; kinds are apikey, identityprovider, ingress, overlay, secret, server, settings, team, toolset"
	for path, want := range map[string]string{
		"/v1/changes?object=a":                             shape,
		"/v1/changes?object=server/":                       shape,
		"/v1/changes?object=server/a/b":                    shape,
		"/v1/changes?object=sealingring/session":           shape,
		"/v1/changes?page_token=" + token:                  "page_token: belongs to another list; send next_page_token of the same list",
		"/v1/changes?object=server/b&page_token=" + token:  "page_token: belongs to another list; send next_page_token of the same list",
		"/v1/servers?object=server/a":                      "object: is only for changes; leave it out",
		"/v1/nodes?object=server/a":                        "object: is only for changes; leave it out",
		"/v1/diff?page_token=" + token:                     "page_token: belongs to another list; send next_page_token of the same list",
		"/v1/diff?page_size=-1":                            "page_size: is -1; ask for 1 to 1000, or 0 for 100",
		"/v1/changes?object=server/a&object=server/b":      "object: is given 2 times; give it once",
		"/v1/changes?objects=server/a":                     "objects: is not a query parameter of this call; nearest is object",
		"/v1/changes?object=server/a&page_token=" + "rubb": "page_token: isn't a token of this API; send next_page_token of the page before as it came",
	} {
		if got := violations(p.must(400, "GET", path, "")); strings.Join(got, "|") != want {
			t.Errorf("%s:\n got %q\nwant %q", path, got, want)
		}
	}
}

// differences are those of a change or of an answer of DiffChanges, one line per object and field.
func differences(m map[string]any) string {
	var b strings.Builder
	objects, _ := at(m, "objects").([]any)
	for _, o := range objects {
		fmt.Fprintf(&b, "%s/%s %s\n", str(o, "kind"), str(o, "name"), str(o, "action"))
		fields, _ := at(o, "fields").([]any)
		for _, f := range fields {
			fmt.Fprintf(&b, "  %s: %s -> %s", str(f, "path"), str(f, "before"), str(f, "after"))
			if at(f, "hidden") == true {
				b.WriteString("hidden")
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestDiffsNameEveryField(t *testing.T) {
	p := start(t, memstore.New())
	const before = `{"objects":[{"server":{"name":"a","labels":{"env":"dev","x.y/z":"1"},"spec":{"endpoints":[{"url":"http://127.0.0.1:1/mcp","regions":["eu"]},{"url":"http://127.0.0.1:2/mcp","regions":["us"]}],"timeouts":{"idle":"30s"},"access_groups":["x"]}}}]}`
	const after = `{"objects":[{"server":{"name":"a","labels":{"env":"prod","new":"<&>"},"spec":{"endpoints":[{"url":"http://127.0.0.1:1/mcp","regions":["eu"]},{"url":"http://127.0.0.1:3/mcp","regions":["us"]}],"timeouts":{"total":"5m"},"access_groups":["x","y"]}}},{"secret":{"name":"token","spec":{"value":"` + hiddenValue + `"}}}]}`
	first := p.change(before)
	const want = `server/a updated
  labels.env: "dev" -> "prod"
  labels.new:  -> "<&>"
  labels["x.y/z"]: "1" -> 
  spec.endpoints[1].url: "http://127.0.0.1:2/mcp" -> "http://127.0.0.1:3/mcp"
  spec.timeouts.idle: "30s" -> 
  spec.timeouts.total:  -> "5m"
  spec.access_groups: ["x"] -> ["x","y"]
`
	const created = `secret/token created
  spec.value:  -> hidden
`
	dry := p.must(200, "POST", "/v1/changes", `{"validate_only":true,`+after[1:])
	if got := differences(dry); got != want+created || str(dry, "id") != "" {
		t.Errorf("dry run:\n%s", got)
	}
	second := p.change(after)
	for name, query := range map[string]string{"newest": "", "what it did": "?to=" + second, "between": "?from=" + first + "&to=" + second, "until now": "?from=" + first} {
		got := p.must(200, "GET", "/v1/diff"+query, "")
		if differences(got) != created+want || str(got, "to") != second {
			t.Errorf("%s:\n%s", name, differences(got))
		}
	}
	if got := p.must(200, "GET", "/v1/diff?from="+second+"&to="+second, ""); at(got, "objects") == nil || differences(got) != "" {
		t.Errorf("with itself: %v", got)
	}
	back := differences(p.must(200, "GET", "/v1/diff?from="+second+"&to="+first, ""))
	if !strings.Contains(back, `labels.env: "prod" -> "dev"`) || !strings.HasPrefix(back, "secret/token deleted\n") {
		t.Errorf("backwards:\n%s", back)
	}
	c, ctx := p.dial()
	if got, err := c.DiffChanges(ctx, &adminv1.DiffChangesRequest{From: first}); err != nil || len(got.GetObjects()) != 2 || !got.GetObjects()[0].GetFields()[0].GetHidden() {
		t.Errorf("over gRPC: %v %v", got, err)
	}
}

func TestDiffsTellIdentityAndPagesHoldTogether(t *testing.T) {
	p := start(t, memstore.New())
	if got := p.must(200, "GET", "/v1/diff", ""); str(got, "to") != "" || at(got, "objects") == nil {
		t.Errorf("a store without changes: %v", got)
	}
	p.must(404, "GET", "/v1/diff?from=01ARZ3NDEKTSV4RRFFQ69G5FAV", "")
	begin := p.change(`{"objects":[` + serverAt("a", 1) + `,` + serverAt("b", 1) + `,` + serverAt("c", 1) + `]}`)
	p.change(`{"deletions":[{"kind":"server","name":"a"}]}`)
	p.change(`{"set":"base","objects":[` + serverAt("a", 1) + `,` + serverAt("b", 2) + `]}`)
	p.change(`{"objects":[` + serverAt("c", 2) + `]}`)
	end := p.change(`{"objects":[` + serverAt("c", 1) + `]}`)
	var names []string
	for token := ""; ; {
		page := p.must(200, "GET", "/v1/diff?page_size=1&from="+begin+"&page_token="+token, "")
		for _, line := range strings.Split(differences(page), "\n") {
			if line != "" && !strings.Contains(line, "meta.uid") {
				names = append(names, line)
			}
		}
		if token == "" {
			p.change(`{"objects":[` + serverAt("z", 1) + `]}`) // now stays what it was
			if !strings.Contains(differences(page), "  meta.uid: ") {
				t.Errorf("made anew: %s", differences(page))
			}
		}
		if str(page, "to") != end {
			t.Errorf("until %s, not %s", str(page, "to"), end)
		}
		if token = str(page, "next_page_token"); token == "" {
			break
		}
	}
	want := `server/a updated|  meta.set:  -> "base"|server/b updated|  spec.endpoints[0].url: "http://127.0.0.1:1/mcp" -> "http://127.0.0.1:2/mcp"|  meta.set:  -> "base"`
	if got := strings.Join(names, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.must(404, "GET", "/v1/diff?to=nothing", "")
	c, ctx := p.dial()
	if _, err := c.DiffChanges(ctx, &adminv1.DiffChangesRequest{To: "nothing"}); status.Code(err) != codes.NotFound {
		t.Errorf("over gRPC: %v", err)
	}
}

func TestALargeDryRunLeavesFieldsOut(t *testing.T) {
	p := start(t, memstore.New())
	r := &adminv1.CreateChangeRequest{ValidateOnly: true}
	for i := range 700 {
		s := demoServer(fmt.Sprintf("s%03d", i))
		s.Spec.Endpoints[0].Url += "/" + strings.Repeat("x", 1900)
		s.Labels = map[string]string{}
		for k := range 10 {
			s.Labels[fmt.Sprintf("l%d", k)] = strings.Repeat("y", 200)
		}
		r.Objects = append(r.Objects, &adminv1.Object{Object: &adminv1.Object_Server{Server: s}})
	}
	c, ctx := p.dial()
	got, err := c.CreateChange(ctx, r)
	if err != nil || len(got.GetObjects()) != 700 {
		t.Fatalf("%d objects: %v", len(got.GetObjects()), err)
	}
	first, last := got.GetObjects()[0], got.GetObjects()[699]
	if len(first.GetFields()) == 0 || first.GetFieldsOmitted() || len(last.GetFields()) != 0 || !last.GetFieldsOmitted() {
		t.Errorf("first %d fields, last %d, omitted %t", len(first.GetFields()), len(last.GetFields()), last.GetFieldsOmitted())
	}
}
