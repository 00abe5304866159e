package api_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const (
	viewerKey  = "sk-viewer-0123456789abcdef"
	adminKey   = "sk-admin-0123456789abcdef"
	callerKey  = "sk-caller-0123456789abcdef"
	expiredKey = "sk-expired-0123456789abcdef"
)

// withKeys stores one API key per role.
func withKeys(p *plane) {
	p.Helper()
	for name, spec := range map[string]string{
		"watcher":  `"sha256":"` + sum(viewerKey) + `","roles":["viewer"]`,
		"operator": `"sha256":"` + sum(adminKey) + `","roles":["admin"]`,
		"caller":   `"sha256":"` + sum(callerKey) + `","servers":["*"]`,
		"old":      `"sha256":"` + sum(expiredKey) + `","roles":["admin"],"expires":"2020-01-01T00:00:00Z"`,
	} {
		p.must(200, "PUT", "/v1/apikeys/"+name, `{"spec":{`+spec+`}}`)
	}
}

func TestWithoutAGoodKeyEverythingIsRefused(t *testing.T) {
	p := start(t, memstore.New())
	withKeys(p)
	const unknown = `{"code":16,"message":"the key is unknown, revoked or expired"}` + "\n"
	for name, c := range map[string]struct {
		header [2]string
		body   string
	}{
		"no key":      {[2]string{"X-None", ""}, `{"code":16,"message":"no key was sent; send the master key or an API key with the role admin or viewer as: Authorization: Bearer KEY"}` + "\n"},
		"unknown key": {[2]string{"Authorization", "Bearer sk-nobody-knows-this"}, unknown},
		"expired key": {[2]string{"Authorization", "Bearer " + expiredKey}, unknown},
		"basic":       {[2]string{"Authorization", "Basic c2stc2VjcmV0OnNlY3JldA=="}, `{"code":16,"message":"the Authorization header has the scheme Basic; send: Authorization: Bearer KEY"}` + "\n"},
		"bare":        {[2]string{"Authorization", masterKey}, `{"code":16,"message":"the Authorization header has the scheme (none); send: Authorization: Bearer KEY"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range [][2]string{{"GET", "/v1/servers"}, {"PUT", "/v1/servers/a"}, {"POST", "/v1/changes"}, {"GET", "/v1/nope"}, {"POST", "/v1/servers"}} {
				a := p.as("").do(call[0], call[1], "not even JSON", c.header[0], c.header[1])
				if a.status != http.StatusUnauthorized || a.body != c.body {
					t.Errorf("%v: %d %s", call, a.status, a.body)
				}
				if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="hopgate"` {
					t.Errorf("%v: WWW-Authenticate %q", call, got)
				}
			}
		})
	}
}

func TestGRPCNeedsAKeyToo(t *testing.T) {
	p := start(t, memstore.New())
	client, ctx := p.as("").dial()
	if _, err := client.GetInfo(ctx, &adminv1.GetInfoRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("no key: %v", err)
	}
	for _, keys := range [][2]string{{masterKey, "sk-another"}, {"sk-another", masterKey}} {
		two := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+keys[0], "x-hopgate-api-key", keys[1])
		if _, err := client.GetInfo(two, &adminv1.GetInfoRequest{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("two keys: %v", err)
		}
	}
	own := metadata.AppendToOutgoingContext(ctx, "x-hopgate-api-key", masterKey)
	info, err := client.GetInfo(own, &adminv1.GetInfoRequest{})
	if err != nil || info.GetCaller() != "master" || info.GetRole() != "admin" || info.GetVersion() != "1.2.3" || info.GetReplica() != "cp-1" {
		t.Errorf("own header: %v %v", info, err)
	}
}

func TestRoles(t *testing.T) {
	p := start(t, memstore.New())
	withKeys(p)
	viewer := p.as(viewerKey)
	viewer.must(200, "GET", "/v1/servers", "")
	viewer.must(200, "GET", "/v1/changes", "")
	if got := viewer.must(200, "GET", "/v1/info", ""); str(got, "caller") != "watcher" || str(got, "role") != "viewer" {
		t.Errorf("info: %v", got)
	}
	const refused = `{"code":7,"message":"the key \"watcher\" has the role viewer and may only read; writing needs the role admin"}` + "\n"
	for _, call := range [][2]string{{"PUT", "/v1/servers/a"}, {"PATCH", "/v1/servers/a"}, {"DELETE", "/v1/apikeys/caller"}, {"POST", "/v1/changes"}} {
		if a := viewer.do(call[0], call[1], demo); a.status != http.StatusForbidden || a.body != refused {
			t.Errorf("%v: %d %s", call, a.status, a.body)
		}
	}
	client, ctx := viewer.dial()
	if _, err := client.PutServer(ctx, &adminv1.PutServerRequest{Name: "a", Server: demoServer("a")}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("gRPC: %v", err)
	}
	if a := p.as(callerKey).do("GET", "/v1/info", ""); a.status != http.StatusForbidden {
		t.Errorf("no role: %d %s", a.status, a.body)
	}
	p.as(adminKey).must(200, "PUT", "/v1/servers/a", demo)
	if got := p.must(200, "GET", "/v1/changes?page_size=1", ""); str(got, "changes", 0, "author") != "operator" {
		t.Errorf("author: %v", got)
	}
}

func TestARevokedKeyIsRefusedAtOnce(t *testing.T) {
	p := start(t, memstore.New())
	withKeys(p)
	p.as(viewerKey).must(200, "GET", "/v1/info", "")
	p.must(200, "DELETE", "/v1/apikeys/watcher", "")
	p.as(viewerKey).must(401, "GET", "/v1/info", "")
}

func TestAKeyExpires(t *testing.T) {
	var passed atomic.Int64 // seconds
	p := start(t, memstore.New(), withClock(func() time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(passed.Load()) * time.Second)
	}))
	p.must(200, "PUT", "/v1/apikeys/short", `{"spec":{"sha256":"`+sum(adminKey)+`","roles":["admin"],"expires":"2026-01-01T00:00:10Z"}}`)
	p.as(adminKey).must(200, "GET", "/v1/info", "")
	passed.Store(10)
	p.as(adminKey).must(401, "GET", "/v1/info", "")
}

func TestEveryWriteAndRefusalIsAudited(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a?message=hello", demo)
	p.must(200, "GET", "/v1/servers/a", "")
	p.must(400, "PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"ftp://user:hunter2@x"}]}}`)
	p.must(400, "PUT", "/v1/servers/a", `{"spce":{}}`)
	p.must(404, "DELETE", "/v1/servers/b", "")
	p.as("sk-wrong-key").must(401, "GET", "/v1/servers", "")
	client, ctx := p.dial()
	if _, err := client.DeleteServer(ctx, &adminv1.DeleteRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range p.log.lines(t) {
		got = append(got, strings.Join([]string{str(l, "caller"), str(l, "method"), str(l, "objects"), str(l, "outcome")}, " "))
		if !strings.HasPrefix(str(l, "remote"), "127.0.0.1:") {
			t.Errorf("remote: %v", l)
		}
		if ok := str(l, "outcome") == "ok"; ok != (str(l, "change") != "") {
			t.Errorf("change id: %v", l)
		}
	}
	want := []string{
		"master PutServer server/a ok", "master PutServer server/a invalid_argument", "master PutServer  invalid_argument",
		"master DeleteServer server/b not_found", " ListServers  unauthenticated", "master DeleteServer server/a ok",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAReadThatFindsNothingIsNoWarning(t *testing.T) {
	p := start(t, memstore.New())
	p.must(404, "GET", "/v1/apikeys/none", "")
	p.must(404, "DELETE", "/v1/apikeys/none", "")
	var got []string
	for _, l := range p.log.lines(t) {
		got = append(got, str(l, "method")+" "+str(l, "level"))
	}
	if want := "GetApiKey INFO, DeleteApiKey WARN"; strings.Join(got, ", ") != want {
		t.Errorf("audit %v, want %s", got, want)
	}
}

func TestNoSecretIsEchoed(t *testing.T) {
	p := start(t, memstore.New())
	var said strings.Builder
	for _, call := range [][3]string{
		{"PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"http://user:hunter2secret@x/mcp"}]}}`},
		{"PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"hunter2secret"}]}}`},
		{"PUT", "/v1/apikeys/a", `{"spec":{"sha256":"hunter2secret"}}`},
		{"PUT", "/v1/apikeys/a", `{"spec":{"sha256":12345,"key":"hunter2secret"}}`},
		{"GET", "/v1/servers?page_size=hunter2secret", ""},
		{"GET", "/v1/servers?page_token=hunter2secret", ""},
		{"PUT", "/v1/servers/a?request_id=hunter2secret", demo},
		{"DELETE", "/v1/servers/a?etag=hunter2secret", ""},
	} {
		said.WriteString(p.do(call[0], call[1], call[2]).body)
	}
	said.WriteString(p.as("hunter2secret").do("GET", "/v1/servers", "").body)
	said.WriteString(p.as("").do("GET", "/v1/servers", "", "Authorization", "hunter2secret").body)
	said.WriteString(p.as("").do("GET", "/v1/servers", "", "Authorization", "hunter2secret x").body)
	for _, s := range []string{"hunter2secret", masterKey} {
		if strings.Contains(said.String(), s) {
			t.Errorf("answers contain %q:\n%s", s, said.String())
		}
		if strings.Contains(p.log.String(), s) {
			t.Errorf("log contains %q:\n%s", s, p.log.String())
		}
	}
}
