package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestAnObjectsLife(t *testing.T) {
	p := start(t, memstore.New())
	made := p.must(200, "PUT", "/v1/servers/a", demo)
	if str(made, "name") != "a" || str(made, "meta", "generation") != "1" || str(made, "meta", "uid") == "" || str(made, "meta", "change") == "" {
		t.Errorf("created: %v", made)
	}
	if at(made, "status", "applied") != 2.0 {
		t.Errorf("status: %v", made["status"])
	}
	if read := p.must(200, "GET", "/v1/servers/a", ""); str(read, "meta", "etag") != str(made, "meta", "etag") {
		t.Errorf("read: %v\nmade: %v", read, made)
	}
	changed := p.must(200, "PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"http://127.0.0.1:3002/mcp"}]}}`)
	if str(changed, "meta", "generation") != "2" || str(changed, "meta", "uid") != str(made, "meta", "uid") || str(changed, "meta", "etag") == str(made, "meta", "etag") {
		t.Errorf("changed: %v", changed)
	}
	gone := p.must(200, "DELETE", "/v1/servers/a", "")
	if got := p.must(200, "GET", "/v1/changes/"+str(gone, "change"), ""); str(got, "objects", 0, "action") != "deleted" || at(got, "delivery", "nodes") != 2.0 {
		t.Errorf("change: %v", got)
	}
	p.must(404, "GET", "/v1/servers/a", "")
	if again := p.must(200, "PUT", "/v1/servers/a", demo); str(again, "meta", "uid") == str(made, "meta", "uid") || str(again, "meta", "generation") != "1" {
		t.Errorf("made again: %v", again)
	}
	var actions []string
	for _, c := range at(p.must(200, "GET", "/v1/changes", ""), "changes").([]any) {
		actions = append(actions, str(c, "objects", 0, "action"))
	}
	if got := strings.Join(actions, " "); got != "created deleted updated created" {
		t.Errorf("history, newest first: %s", got)
	}
}

func TestAWriteThatChangesNothingLeavesNoRecord(t *testing.T) {
	p := start(t, memstore.New())
	made := p.must(200, "PUT", "/v1/servers/a", demo)
	same := p.must(200, "PUT", "/v1/servers/a", demo)
	if str(made, "meta", "etag") != str(same, "meta", "etag") || str(made, "meta", "change") != str(same, "meta", "change") {
		t.Errorf("made %v\nsame %v", made, same)
	}
	if got := at(p.must(200, "GET", "/v1/changes", ""), "changes").([]any); len(got) != 1 {
		t.Errorf("%d changes", len(got))
	}
}

func TestALostRaceNamesTheFieldsAndTheEtag(t *testing.T) {
	p := start(t, memstore.New())
	first := p.must(200, "PUT", "/v1/servers/a", demo)
	second := p.must(200, "PATCH", "/v1/servers/a", `{"labels":{"team":"x"},"spec":{"timeouts":{"idle":"7s"}}}`)
	stale, fresh := str(first, "meta", "etag"), str(second, "meta", "etag")
	want := `{"code":10,"message":"server \"a\" was changed since that etag in labels, spec.timeouts; read it again and repeat the change",` +
		`"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"STALE_ETAG","domain":"hopgate.dev",` +
		`"metadata":{"changed_fields":"labels,spec.timeouts","current_etag":"` + fresh + `","kind":"server","name":"a"}}]}` + "\n"
	body := `{"meta":{"etag":"` + stale + `"},"spec":{"endpoints":[{"url":"http://127.0.0.1:9/mcp"}]}}`
	for name, a := range map[string]answer{
		"put":          p.do("PUT", "/v1/servers/a", body),
		"patch":        p.do("PATCH", "/v1/servers/a", body),
		"delete":       p.do("DELETE", "/v1/servers/a?etag="+stale, ""),
		"if-match put": p.do("PUT", "/v1/servers/a", demo, "If-Match", `"`+stale+`"`),
		"if-match del": p.do("DELETE", "/v1/servers/a", "", "If-Match", `"`+stale+`"`),
		"change":       p.do("POST", "/v1/changes", `{"objects":[{"server":{"name":"a",`+body[1:]+`}]}`),
	} {
		if a.status != http.StatusPreconditionFailed || a.body != want {
			t.Errorf("%s: %d\n%s\nwant\n%s", name, a.status, a.body, want)
		}
	}
	a := p.do("PUT", "/v1/servers/a", demo, "If-Match", `"`+fresh+`"`)
	if a.status != 200 || a.header.Get("ETag") == "" || a.header.Get("ETag") == `"`+fresh+`"` {
		t.Errorf("fresh etag: %d %s %q", a.status, a.body, a.header.Get("ETag"))
	}
}

func TestAnEtagOfADeletedObjectIsStale(t *testing.T) {
	p := start(t, memstore.New())
	etag := str(p.must(200, "PUT", "/v1/servers/a", demo), "meta", "etag")
	p.must(200, "DELETE", "/v1/servers/a", "")
	got := p.must(412, "PUT", "/v1/servers/a", demo, "If-Match", etag)
	if str(got, "message") != `server "a" doesn't exist any more; read it again and repeat the change` {
		t.Errorf("%v", got)
	}
	p.must(404, "DELETE", "/v1/servers/a", "", "If-Match", etag)
	p.must(404, "PUT", "/v1/servers/a", demo, "If-Match", "*")
}

func TestAnEtagIsStaleThoughTheContentIsBack(t *testing.T) {
	p := start(t, memstore.New())
	etag := str(p.must(200, "PUT", "/v1/servers/a", demo), "meta", "etag")
	p.must(200, "PATCH", "/v1/servers/a", `{"labels":{"a":"1"}}`)
	p.must(200, "PUT", "/v1/servers/a", demo)
	got := p.must(412, "DELETE", "/v1/servers/a?etag="+etag, "")
	if str(got, "message") != `server "a" was changed since that etag; read it again and repeat the change` {
		t.Errorf("%v", got)
	}
}

func TestAnUpdateTouchesOnlyItsMask(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", `{"labels":{"a":"1"},"spec":{"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}],"timeouts":{"connect":"1s","idle":"2s"}}}`)
	for name, c := range map[string]struct{ query, body, want string }{
		"from the body":     {"", `{"spec":{"timeouts":{"idle":"9s"}}}`, "1s 9s 1"},
		"cleared by mask":   {"?update_mask=spec.timeouts.connect", `{}`, " 2s 1"},
		"cleared by null":   {"", `{"spec":{"timeouts":{"connect":null}}}`, " 2s 1"},
		"mask picks":        {"?update_mask=spec.timeouts.idle", `{"labels":{"b":"2"},"spec":{"timeouts":{"idle":"8s","connect":"7s"}}}`, "1s 8s 1"},
		"two paths":         {"?update_mask=spec.timeouts,labels", `{"labels":{"a":"3"},"spec":{"timeouts":{"idle":"8s"}}}`, " 8s 3"},
		"ours are left out": {"?update_mask=meta,status,name", `{"meta":{"uid":"mine"}}`, "1s 2s 1"},
		"everything":        {"?update_mask=*", `{"spec":{"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}]}}`, "  "},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.must(200, "PATCH", "/v1/servers/a"+c.query+sep(c.query)+"validate_only=true", c.body)
			if s := strings.Join([]string{str(got, "spec", "timeouts", "connect"), str(got, "spec", "timeouts", "idle"), str(got, "labels", "a")}, " "); s != c.want {
				t.Errorf("got %q, want %q: %v", s, c.want, got)
			}
		})
	}
}

func sep(query string) string {
	if query == "" {
		return "?"
	}
	return "&"
}

func TestWithoutAMaskGRPCUpdatesWhatIsSet(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", `{"labels":{"a":"1"},"spec":{"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}],"timeouts":{"connect":"1s"}}}`)
	client, ctx := p.dial()
	got, err := client.UpdateServer(ctx, &adminv1.UpdateServerRequest{Name: "a", Server: &configv1.Server{Spec: &configv1.ServerSpec{Timeouts: &configv1.Timeouts{Idle: "3s"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if ts := got.GetSpec().GetTimeouts(); ts.GetConnect() != "1s" || ts.GetIdle() != "3s" || got.GetLabels()["a"] != "1" || len(got.GetSpec().GetEndpoints()) != 1 {
		t.Errorf("%v", got)
	}
}

func TestAnUnknownMaskPathNamesTheNearest(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", demo)
	client, ctx := p.dial()
	for path, want := range map[string]string{
		"spec.timeouts.idel":   `update_mask: names the unknown field "spec.timeouts.idel"; nearest is spec.timeouts.idle`,
		"spek":                 `update_mask: names the unknown field "spek"; nearest is spec`,
		"spec.endpoints.url":   `update_mask: names "spec.endpoints.url", but spec.endpoints has no fields to pick; name spec.endpoints whole`,
		"spec.timeouts.qwerty": `update_mask: names the unknown field "spec.timeouts.qwerty"; known there: connect, first_byte, idle, total, list`,
	} {
		_, err := client.UpdateServer(ctx, &adminv1.UpdateServerRequest{Name: "a", Server: demoServer("a"), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}})
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if a := p.do("PATCH", "/v1/servers/b", demo); a.status != 404 || !strings.Contains(a.body, `server \"b\" doesn't exist`) {
		t.Errorf("update of nothing: %d %s", a.status, a.body)
	}
}

func TestUnknownFieldsOfANewerVersionAreKept(t *testing.T) {
	p := start(t, memstore.New())
	client, ctx := p.dial()
	newer := demoServer("a")
	newer.Spec.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "from the future"))
	if _, err := client.PutServer(ctx, &adminv1.PutServerRequest{Name: "a", Server: newer}); err != nil {
		t.Fatal(err)
	}
	p.must(200, "PATCH", "/v1/servers/a", `{"spec":{"timeouts":{"idle":"3s"}}}`)
	got, err := client.GetServer(ctx, &adminv1.GetRequest{Name: "a"})
	if err != nil || string(got.GetSpec().ProtoReflect().GetUnknown()) != string(newer.GetSpec().ProtoReflect().GetUnknown()) {
		t.Errorf("%v %v", got, err)
	}
}

func TestValidateOnlyStoresNothing(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/old", demo)
	before := p.must(200, "GET", "/v1/info", "")
	made := p.must(200, "PUT", "/v1/servers/a?validate_only=true", demo)
	if str(made, "name") != "a" || at(made, "meta", "etag") != nil || at(made, "meta", "uid") != nil || at(made, "meta", "change") != nil {
		t.Errorf("as if: %v", made)
	}
	p.must(400, "PUT", "/v1/servers/a?validate_only=true", `{}`)
	p.must(200, "DELETE", "/v1/servers/old?validate_only=true", "")
	c := p.must(200, "POST", "/v1/changes", `{"validate_only":true,"objects":[{"server":{"name":"b",`+demo[1:]+`}],"deletions":[{"kind":"server","name":"old"}]}`)
	if str(c, "id") != "" || str(c, "objects", 0, "action") != "created" || str(c, "objects", 1, "action") != "deleted" {
		t.Errorf("as if: %v", c)
	}
	if after := p.must(200, "GET", "/v1/info", ""); str(before, "revision") != str(after, "revision") {
		t.Errorf("revision went from %v to %v", before, after)
	}
}

func TestARepeatedRequestAnswersWhatTheFirstDid(t *testing.T) {
	p := start(t, memstore.New())
	const id = "request_id=0f8fad5b-d9cb-469f-a165-70867728950e"
	first := p.do("PUT", "/v1/servers/a?"+id, demo)
	if again := p.do("PUT", "/v1/servers/a?"+id, demo); again.status != 200 || again.body != first.body {
		t.Errorf("at once: %s\nfirst: %s", again.body, first.body)
	}
	made := p.must(200, "GET", "/v1/servers/a", "")
	p.must(200, "PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"http://127.0.0.1:4/mcp"}]}}`)
	later := p.must(200, "PUT", "/v1/servers/a?"+id, demo)
	if str(later, "meta", "etag") != str(made, "meta", "etag") || str(later, "meta", "change") != str(made, "meta", "change") ||
		str(later, "spec", "endpoints", 0, "url") != "http://127.0.0.1:3001/mcp" {
		t.Errorf("after another change: %v\nfirst: %v", later, made)
	}
	if now := p.must(200, "GET", "/v1/servers/a", ""); str(now, "spec", "endpoints", 0, "url") != "http://127.0.0.1:4/mcp" {
		t.Errorf("the repeat wrote: %v", now)
	}
	p.must(200, "PUT", "/v1/servers/a?request_id=01ARZ3NDEKTSV4RRFFQ69G5FAV", `{"spec":{"endpoints":[{"url":"http://127.0.0.1:5/mcp"}]}}`)
	change := str(p.must(200, "GET", "/v1/servers/a", ""), "meta", "change")
	want := `{"code":3,"message":"request_id: was used for another request, which made change ` + change + `; make a fresh one per change",` +
		`"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"request_id",` +
		`"description":"was used for another request, which made change ` + change + `; make a fresh one per change"}]}]}` + "\n"
	if a := p.do("PUT", "/v1/servers/b?request_id=01ARZ3NDEKTSV4RRFFQ69G5FAV", demo); a.status != 400 || a.body != want {
		t.Errorf("other content: %d\n%s\nwant\n%s", a.status, a.body, want)
	}
	const del = "/v1/servers/a?request_id=11111111-1111-4111-8111-111111111111"
	gone := p.do("DELETE", del, "")
	if again := p.do("DELETE", del, ""); again.status != 200 || again.body != gone.body {
		t.Errorf("delete: %d %s, first %s", again.status, again.body, gone.body)
	}
}

func TestTheChangeRecordTellsWhoWhatAndWhy(t *testing.T) {
	when := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	p := start(t, memstore.New(), withClock(func() time.Time { return when }))
	c := p.must(200, "POST", "/v1/changes", `{"message":"ticket 7","objects":[{"server":{"name":"b",`+demo[1:]+`},{"settings":{"name":"default","spec":{"limits":{"depth":32}}}}]}`)
	if str(c, "message") != "ticket 7" || str(c, "author") != "master" || str(c, "time") != "2026-05-01T12:00:00Z" ||
		str(c, "objects", 0, "name") != "b" || str(c, "objects", 1, "kind") != "settings" {
		t.Errorf("%v", c)
	}
	rec, err := p.store.Change(t.Context(), str(c, "id"))
	if err != nil || rec.Parent != "" || len(rec.Objects) != 2 || rec.Objects[0].After == "" {
		t.Errorf("%+v %v", rec, err)
	}
	next := p.must(200, "PUT", "/v1/servers/c", demo)
	if rec, err := p.store.Change(t.Context(), str(next, "meta", "change")); err != nil || rec.Parent != str(c, "id") || rec.ID <= rec.Parent {
		t.Errorf("%+v %v", rec, err)
	}
	if got := p.must(200, "GET", "/v1/changes/"+str(c, "id"), ""); str(got, "revision") != str(c, "revision") || str(got, "revision") == "" {
		t.Errorf("read back: %v", got)
	}
	p.must(404, "GET", "/v1/changes/01ARZ3NDEKTSV4RRFFQ69G5FAV", "")
	p.must(404, "GET", "/v1/changes/nope", "")
}

func TestAStoreOutOfReachIsUnavailable(t *testing.T) {
	p := start(t, memstore.New())
	p.store.SetDown()
	if a := p.do("PUT", "/v1/servers/a", demo); a.status != 503 || a.body != `{"code":14,"message":"the store can't be reached; nothing was changed"}`+"\n" {
		t.Errorf("down: %d %s", a.status, a.body)
	}
	if got := p.log.lines(t)[0]; !strings.Contains(str(got, "error"), "set down by the test") {
		t.Errorf("the cause isn't logged: %v", got)
	}
	p.store.SetUp()
	p.must(200, "PUT", "/v1/servers/a", demo)
}

func TestAnUnclearCommitNamesItsChange(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint(stored), func(t *testing.T) {
			p := start(t, memstore.New())
			p.store.Ambiguous(stored)
			const path = "/v1/servers/a?request_id=22222222-2222-4222-8222-222222222222"
			got := p.must(503, "PUT", path, demo)
			id := str(got, "details", 0, "metadata", "change_id")
			if str(got, "details", 0, "reason") != "OUTCOME_UNKNOWN" || len(id) != 26 || !strings.Contains(str(got, "message"), id) {
				t.Errorf("%v", got)
			}
			if a := p.do("GET", "/v1/changes/"+id, ""); (a.status == 200) != stored {
				t.Errorf("%d %s", a.status, a.body)
			}
			if again := p.must(200, "PUT", path, demo); (str(again, "meta", "change") == id) != stored {
				t.Errorf("repeated: %v", again)
			}
		})
	}
}
