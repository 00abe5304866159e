package api_test

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// revert undoes a change over REST.
func (p *plane) revert(status int, id, body string) map[string]any {
	p.Helper()
	return p.must(status, "POST", "/v1/changes/"+id+":revert", body)
}

func TestARevertUndoesOneChange(t *testing.T) {
	p := start(t, memstore.New())
	p.change(`{"objects":[` + serverAt("a", 1) + `,` + serverAt("gone", 1) + `]}`)
	before := p.must(200, "GET", "/v1/servers/gone", "")
	id := p.change(`{"message":"oops","objects":[` + serverAt("a", 2) + `,` + serverAt("new", 2) + `],"deletions":[{"kind":"server","name":"gone"}]}`)
	p.change(`{"objects":[` + serverAt("other", 1) + `]}`)

	dry := p.revert(200, id, `{"validate_only":true}`)
	want := `server/a updated
  spec.endpoints[0].url: "http://127.0.0.1:2/mcp" -> "http://127.0.0.1:1/mcp"
server/new deleted
  spec.endpoints[0].url: "http://127.0.0.1:2/mcp" -> 
server/gone created
  spec.endpoints[0].url:  -> "http://127.0.0.1:1/mcp"
`
	if got := differences(dry); got != want || str(dry, "id") != "" {
		t.Errorf("dry run:\n%s", got)
	}
	done := p.revert(200, id, `{"message":"too early"}`)
	if str(done, "reverts") != id || str(done, "message") != "too early" || at(done, "delivery", "nodes") != 2.0 {
		t.Errorf("the change: %v", done)
	}
	if got := p.must(200, "GET", "/v1/servers/a", ""); str(got, "spec", "endpoints", 0, "url") != "http://127.0.0.1:1/mcp" || str(got, "meta", "generation") != "3" {
		t.Errorf("a: %v", got)
	}
	p.must(404, "GET", "/v1/servers/new", "")
	p.must(200, "GET", "/v1/servers/other", "")
	again := p.must(200, "GET", "/v1/servers/gone", "")
	if str(again, "meta", "uid") == str(before, "meta", "uid") || str(again, "meta", "generation") != "1" {
		t.Errorf("gone: %v", again)
	}
	if got := p.revert(200, str(done, "id"), `{}`); str(got, "message") != "revert of "+str(done, "id") {
		t.Errorf("the revert reverted: %v", got)
	}
	p.must(200, "GET", "/v1/servers/new", "")
}

func TestARevertLosesNothingUnlessForced(t *testing.T) {
	p := start(t, memstore.New())
	p.change(`{"objects":[` + serverAt("a", 1) + `,` + serverAt("b", 1) + `,` + serverAt("c", 1) + `]}`)
	id := p.change(`{"objects":[` + serverAt("a", 2) + `,` + serverAt("b", 2) + `,` + serverAt("d", 2) + `],"deletions":[{"kind":"server","name":"c"}]}`)
	later := p.change(`{"objects":[` + serverAt("a", 3) + `],"deletions":[{"kind":"server","name":"d"}]}`)
	a := p.do("POST", "/v1/changes/"+id+":revert", `{}`)
	want := `changed again since: server \"a\" (by change ` + later + `), server \"d\" (deleted); revert the later changes first, or force it and lose what they did`
	if a.status != 412 || !strings.Contains(a.body, want) || !strings.Contains(a.body, `"reason":"CHANGED_SINCE"`) || !strings.Contains(a.body, `"objects":"server/a,server/d"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	c, ctx := p.dial()
	_, err := c.RevertChange(ctx, &adminv1.RevertChangeRequest{Id: id})
	if s := status.Convert(err); s.Code() != codes.Aborted || s.Details()[0].(*errdetails.ErrorInfo).GetReason() != "CHANGED_SINCE" || !strings.Contains(s.Message(), "changed again since") {
		t.Errorf("over gRPC: %v", err)
	}
	if got := p.must(200, "GET", "/v1/servers/b", ""); str(got, "spec", "endpoints", 0, "url") != "http://127.0.0.1:2/mcp" {
		t.Errorf("half of it was done: %v", got)
	}
	done := p.revert(200, id, `{"force":true}`)
	if list, _ := at(done, "objects").([]any); len(list) != 3 {
		t.Errorf("forced: %v", done)
	}
	for _, name := range []string{"a", "b", "c"} {
		if got := p.must(200, "GET", "/v1/servers/"+name, ""); str(got, "spec", "endpoints", 0, "url") != "http://127.0.0.1:1/mcp" {
			t.Errorf("%s: %v", name, got)
		}
	}
	p.must(404, "GET", "/v1/servers/d", "")
}

func TestARevertSeesWhatCameAndWent(t *testing.T) {
	p := start(t, memstore.New())
	p.change(`{"objects":[` + serverAt("a", 1) + `]}`)
	id := p.change(`{"deletions":[{"kind":"server","name":"a"}]}`)
	p.change(`{"objects":[` + serverAt("a", 2) + `]}`)
	there := p.revert(412, id, `{}`)
	p.change(`{"deletions":[{"kind":"server","name":"a"}]}`)
	gone := p.revert(412, id, `{}`)
	for _, got := range []map[string]any{there, gone} {
		if !strings.HasPrefix(str(got, "message"), `changed again since: server "a" (by change `) {
			t.Errorf("%v", got)
		}
	}
}

func TestARevertIsAChangeLikeAnyOther(t *testing.T) {
	p := start(t, memstore.New())
	secret := p.change(`{"objects":[{"secret":{"name":"token",` + valued(hiddenValue)[1:] + `}]}`)
	p.change(`{"objects":[{"server":{"name":"user","spec":{"endpoints":[{"url":"http://127.0.0.1:1/mcp"}],"auth":{"type":"bearer","value":{"secret":"token"}}}}}]}`)
	got := violations(p.revert(400, secret, `{}`))
	if len(got) != 1 || got[0] != `objects[0]: is in use by server "user"; remove these references before, or in the same change` {
		t.Errorf("a reference: %q", got)
	}
	owned := p.change(`{"owner":"/etc/a.yaml","objects":[` + serverAt("filed", 1) + `]}`)
	if got := p.revert(400, owned, `{}`); str(got, "message") != `server "filed" belongs to the file /etc/a.yaml and is read-only here; change it in that file` {
		t.Errorf("what a file owns: %v", got)
	}
	if got := violations(p.revert(400, owned, `{"request_id":"7"}`)); len(got) != 1 || !strings.HasPrefix(got[0], "request_id: is neither") {
		t.Errorf("a request id: %q", got)
	}
	id := p.change(`{"objects":[` + serverAt("free", 1) + `]}`)
	const request = `{"request_id":"00000000-0000-4000-8000-000000000007"}`
	first, second := p.revert(200, id, request), p.revert(200, id, request)
	if str(first, "id") == "" || str(first, "id") != str(second, "id") {
		t.Errorf("a repeat: %v %v", first, second)
	}
	if got := p.revert(200, id, `{"force":true}`); str(got, "id") != "" {
		t.Errorf("nothing to undo: %v", got)
	}
	p.revert(404, "01ARZ3NDEKTSV4RRFFQ69G5FAV", `{}`)
	p.revert(404, "x", `{}`)
	if a := p.do("GET", "/v1/changes/"+id+":revert", ""); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("by GET: %d %s", a.status, a.body)
	}
	if a := p.do("POST", "/v1/changes/"+id, `{}`); a.status != 405 || a.header.Get("Allow") != "GET" {
		t.Errorf("without the verb: %d %s", a.status, a.body)
	}
	withKeys(p)
	if a := p.as(viewerKey).do("POST", "/v1/changes/"+id+":revert", `{}`); a.status != 403 {
		t.Errorf("a viewer: %d %s", a.status, a.body)
	}
}

func TestASecretGoesBackUnseen(t *testing.T) {
	kek := testKEK(t)
	s := memstore.New()
	p := start(t, s, withKEK(kek))
	p.change(`{"objects":[{"secret":{"name":"token",` + valued(hiddenValue)[1:] + `}]}`)
	h, err := s.Get(t.Context(), confset.Key{Kind: "secret", Name: "token"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.change(`{"objects":[{"secret":{"name":"token",` + valued(otherValue)[1:] + `}]}`)
	dry := p.revert(200, id, `{"validate_only":true}`)
	if got := differences(dry); got != "secret/token updated\n  spec.value:  -> hidden\n" {
		t.Errorf("dry run: %s", got)
	}
	p.revert(200, id, `{}`)
	back, err := s.Get(t.Context(), h.Object.Key)
	if err != nil || back.Object.Hash != h.Object.Hash {
		t.Errorf("the stored form isn't the one of before: %v", err)
	}
	gone := p.change(`{"deletions":[{"kind":"secret","name":"token"}]}`)
	undone := p.revert(200, gone, `{}`)
	if m, o := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != hiddenValue || o.UID == h.Object.UID {
		t.Errorf("made anew: uid %s, value is right: %t", o.UID, m.GetSpec().GetValue() == hiddenValue)
	}
	got := differences(p.must(200, "GET", "/v1/diff?from="+id+"&to="+str(undone, "id"), ""))
	if !strings.Contains(got, "  spec.value:  -> hidden\n") || !strings.Contains(got, "meta.uid") {
		t.Errorf("diff over all of it:\n%s", got)
	}
	same := differences(p.must(200, "GET", "/v1/diff?from="+str(p.must(200, "GET", "/v1/changes?page_size=3", ""), "changes", 2, "id"), ""))
	if strings.Contains(same, "spec.value") || !strings.Contains(same, "meta.uid") {
		t.Errorf("the same value sealed anew:\n%s", same)
	}
	p.change(`{"deletions":[{"kind":"secret","name":"token"}]}`)
	p.change(`{"objects":[{"secret":{"name":"token",` + valued(numberValue)[1:] + `}]}`)
	p.revert(200, gone, `{"force":true}`)
	if m, _ := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != hiddenValue {
		t.Error("forced over another secret: the value isn't the one of before")
	}
	all := dump(t, s)
	for _, value := range []string{hiddenValue, otherValue} {
		for _, form := range forms(value) {
			if strings.Contains(string(all), form) || strings.Contains(p.log.String(), form) {
				t.Errorf("%q is to be seen", form)
			}
		}
	}
	// Another key-encryption key: the value of then doesn't open.
	q := start(t, s)
	newest := str(q.must(200, "GET", "/v1/changes?page_size=1", ""), "changes", 0, "id")
	if got := violations(q.revert(400, newest, `{}`)); len(got) != 1 || got[0] != "objects[0].spec.value: as it was then doesn't open with the key of this control plane; write the credential again" {
		t.Errorf("with another key: %q", got)
	}
}
