package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
)

func withCompile(f func(confset.Object) []admit.Problem) option {
	return func(_ *api.Config, g *admit.Config) { g.Compile = f }
}

// violations returns "field: description" of an answer's field violations.
func violations(m map[string]any) (out []string) {
	list, _ := at(m, "details", 0, "field_violations").([]any)
	for _, v := range list {
		out = append(out, str(v, "field")+": "+str(v, "description"))
	}
	return out
}

func TestOneBadObjectStoresNothing(t *testing.T) {
	p := start(t, memstore.New())
	before := p.must(200, "GET", "/v1/info", "")
	got := p.must(400, "POST", "/v1/changes", `{"objects":[
		{"server":{"name":"good","spec":{"endpoints":[{"url":"http://127.0.0.1:1/mcp"}]}}},
		{"server":{"name":"bad","spec":{"endpoints":[{"url":"http://127.0.0.1:1/mcp"}],"timeouts":{"idle":"soon"}}}},
		{"apikey":{"name":"worse","spec":{"sha256":"00"}}}]}`)
	vs := violations(got)
	if len(vs) != 2 || !strings.HasPrefix(vs[0], "objects[1].server.spec.timeouts.idle: ") || !strings.HasPrefix(vs[1], "objects[2].apikey.spec.sha256: ") {
		t.Errorf("violations: %q", vs)
	}
	if msg := str(got, "message"); !strings.HasPrefix(msg, `2 problems; first: server "bad": spec.timeouts.idle: `) {
		t.Errorf("message: %s", msg)
	}
	if after := p.must(200, "GET", "/v1/info", ""); str(after, "revision") != str(before, "revision") {
		t.Errorf("something was stored")
	}
	p.must(404, "GET", "/v1/servers/good", "")
}

func TestTheDataPlanesOwnCompileDecidesToo(t *testing.T) {
	p := start(t, memstore.New(), withCompile(func(o confset.Object) []admit.Problem {
		if o.Key.Name == "loop" {
			return []admit.Problem{{Field: "spec.endpoints[0].url", Text: "points at this gateway"}}
		}
		return nil
	}))
	p.must(200, "PUT", "/v1/servers/fine", demo)
	if got := violations(p.must(400, "PUT", "/v1/servers/loop", demo)); len(got) != 1 || got[0] != "spec.endpoints[0].url: points at this gateway" {
		t.Errorf("%q", got)
	}
}

func TestWhatAFileOwnsIsReadOnly(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/free", demo)
	apply := func(status int, owner string) map[string]any {
		return p.must(status, "POST", "/v1/changes", `{"owner":"`+owner+`","objects":[{"server":{"name":"mine",`+demo[1:]+`},{"server":{"name":"free",`+demo[1:]+`}]}`)
	}
	apply(200, "a.yaml")
	if got := p.must(200, "GET", "/v1/servers/free", ""); str(got, "meta", "owner") != "a.yaml" || str(got, "meta", "generation") != "1" {
		t.Errorf("taken over: %v", got)
	}
	if got := apply(200, "a.yaml"); str(got, "id") != "" || at(got, "objects") != nil || at(got, "delivery", "nodes") != 2.0 {
		t.Errorf("applied again: %v", got)
	}
	const other = `{"spec":{"endpoints":[{"url":"http://127.0.0.1:2/mcp"}]}}`
	want := `{"code":9,"message":"server \"mine\" belongs to the file a.yaml and is read-only here; change it in that file","details":[` +
		`{"@type":"type.googleapis.com/google.rpc.PreconditionFailure","violations":[{"type":"FILE_OWNED","subject":"server/mine","description":"belongs to the file a.yaml; change it in that file"}]}]}` + "\n"
	for name, a := range map[string]answer{
		"put": p.do("PUT", "/v1/servers/mine", other), "patch": p.do("PATCH", "/v1/servers/mine", other), "delete": p.do("DELETE", "/v1/servers/mine", ""),
	} {
		if a.status != 400 || a.body != want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	apply(400, "b.yaml")
	p.must(200, "POST", "/v1/changes", `{"owner":"a.yaml","deletions":[{"kind":"Server","name":"mine"}]}`)
	p.must(404, "GET", "/v1/servers/mine", "")
}

func TestChangesThatMakeNoSenseAreRefused(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", demo)
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"empty":           {400, `{}`, ": nothing to change; send objects or deletions"},
		"no object":       {400, `{"objects":[{}]}`, "objects[0]: holds no object; set one of server, apikey, settings, ingress, team, identityprovider, secret, toolset, overlay"},
		"no name":         {400, `{"objects":[{"server":{}}]}`, "objects[0].server.name: is missing; name the object"},
		"sealing ring":    {400, `{"deletions":[{"kind":"sealingring","name":"session"}]}`, `deletions[0].kind: is "sealingring"; use one of apikey, identityprovider, ingress, overlay, secret, server, settings, team, toolset`},
		"bad etag":        {400, `{"deletions":[{"kind":"server","name":"a","etag":"x"}]}`, "deletions[0].etag: isn't an etag of this API; send back meta.etag of a read as it came, or leave it out"},
		"twice":           {400, `{"objects":[{"server":{"name":"a","spec":{"endpoints":[{"url":"http://h:1/"}]}}}],"deletions":[{"kind":"server","name":"a"}]}`, "deletions[0]: is already in this change at objects[0].server; name each object once"},
		"as it is, gone":  {400, `{"objects":[{"server":{"name":"a",` + demo[1:] + `}],"deletions":[{"kind":"server","name":"a"}]}`, "deletions[0]: is already in this change at objects[0].server; name each object once"},
		"as it is, anew":  {400, `{"objects":[{"server":{"name":"a",` + demo[1:] + `},{"server":{"name":"a","spec":{"endpoints":[{"url":"http://h:1/"}]}}}]}`, "objects[1].server: is already in this change at objects[0].server; name each object once"},
		"request id":      {400, `{"request_id":"7","deletions":[{"kind":"server","name":"a"}]}`, "request_id: is neither a ULID nor a UUID; make a fresh one per change"},
		"long message":    {400, `{"message":"` + strings.Repeat("x", 5000) + `","deletions":[{"kind":"server","name":"a"}]}`, "message: has 5000 bytes, at most 4096 are possible; shorten it"},
		"name with slash": {400, `{"objects":[{"server":{"name":"a/b","spec":{"endpoints":[{"url":"http://h:1/"}]}}}]}`, "objects[0].server.name: can't be stored; use letters, digits, _ and -, 253 at most"},
		"missing":         {404, `{"deletions":[{"kind":"server","name":"b"}]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := violations(p.must(c.status, "POST", "/v1/changes", c.body))
			if strings.Join(got, "|") != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestInternalKindsDontExistForCallers(t *testing.T) {
	s := memstore.New()
	ring := confset.NewObject(confset.Key{Kind: "sealingring", Name: "session"}, "u1", []byte("sealed"))
	_, err := s.Commit(t.Context(), store.Write{
		Record: store.ChangeRecord{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Author: "bootstrap", Objects: []store.Changed{{Kind: "sealingring", Name: "session", UID: "u1", After: ring.Hash.String()}}},
		Expect: []store.Precondition{{Key: ring.Key}}, Puts: []store.Head{{Object: ring, Generation: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, s)
	p.must(404, "GET", "/v1/sealingrings/session", "")
	if got := p.must(200, "GET", "/v1/changes", ""); at(got, "changes", 0, "objects") != nil || str(got, "changes", 0, "author") != "bootstrap" {
		t.Errorf("%v", got)
	}
}

func TestTooManyObjectsNamesTheLimit(t *testing.T) {
	s := memstore.New()
	s.SetLimits(store.Limits{Objects: 3, Bytes: 200, Flag: "--max-txn-ops"})
	p := start(t, s)
	var objs []string
	for i := range 4 {
		objs = append(objs, fmt.Sprintf(`{"server":{"name":"s%d",%s}`, i, demo[1:]))
	}
	got := violations(p.must(400, "POST", "/v1/changes", `{"objects":[`+strings.Join(objs, ",")+`]}`))
	if len(got) != 1 || got[0] != ": 4 objects in a change, at most 3 are possible (raise --max-txn-ops and the store's own limit); split the change" {
		t.Errorf("%q", got)
	}
	got = violations(p.must(400, "PUT", "/v1/servers/a", `{"labels":{"x":"`+strings.Repeat("y", 200)+`"},`+demo[1:]))
	if len(got) != 1 || !strings.HasSuffix(got[0], "bytes in an object, at most 200 are possible; make it smaller") {
		t.Errorf("%q", got)
	}
}

func TestTwoKeysCantShareAHash(t *testing.T) {
	p := start(t, memstore.New())
	key := func(name string) string {
		return `{"apikey":{"name":"` + name + `","spec":{"sha256":"` + sum("sk-one-and-the-same") + `","servers":["*"]}}}`
	}
	got := violations(p.must(400, "POST", "/v1/changes", `{"objects":[`+key("a")+","+key("b")+`]}`))
	want := `objects[1].apikey.spec.sha256: is the hash of the API key "a" already; make a new key`
	if len(got) != 1 || got[0] != want {
		t.Errorf("in one change: %q", got)
	}
	p.must(200, "POST", "/v1/changes", `{"objects":[`+key("a")+`]}`)
	if got := violations(p.must(400, "POST", "/v1/changes", `{"objects":[`+key("c")+`]}`)); len(got) != 1 {
		t.Errorf("stored: %q", got)
	}
	p.must(200, "POST", "/v1/changes", `{"objects":[`+key("c")+`],"deletions":[{"kind":"apikey","name":"a"}]}`)
}

func TestAPanicIsOneFailedCall(t *testing.T) {
	p := start(t, memstore.New(), withCompile(func(confset.Object) []admit.Problem { panic("boom sk-inside") }))
	a := p.do("PUT", "/v1/servers/a", demo)
	if a.status != 500 || a.body != `{"code":13,"message":"internal error; the log of this control plane has the cause"}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := p.log.lines(t)[0]; str(got, "outcome") != "internal" || !strings.Contains(str(got, "error"), "boom") {
		t.Errorf("%v", got)
	}
	p.must(200, "GET", "/v1/info", "")
}
