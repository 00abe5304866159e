package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func badRequest(msg, field, description string) string {
	q := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	return `{"code":3,"message":` + q(msg) + `,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":` +
		q(field) + `,"description":` + q(description) + `}]}]}` + "\n"
}

func TestErrorsOfTheRESTFace(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/everything", demo)
	long := `{"labels":{"x":"` + strings.Repeat("y", api.BodyLimit) + `"}}`
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"unknown path":        {"GET", "/v1/nope", "", 404, `{"code":5,"message":"no such path; /openapi.json lists all"}`},
		"root":                {"GET", "/", "", 404, `{"code":5,"message":"no such path; /openapi.json lists all"}`},
		"trailing slash":      {"GET", "/v1/servers/", "", 404, `{"code":5,"message":"no such path; /openapi.json lists all"}`},
		"double slash":        {"GET", "//v1//servers", "", 404, `{"code":5,"message":"no such path; /openapi.json lists all"}`},
		"wrong method":        {"POST", "/v1/servers/a", demo, 405, `{"code":12,"message":"POST isn't possible here; allowed: DELETE, GET, PATCH, PUT"}`},
		"wrong method, list":  {"DELETE", "/v1/nodes", "", 405, `{"code":12,"message":"DELETE isn't possible here; allowed: GET"}`},
		"unknown object":      {"GET", "/v1/servers/evrything", "", 404, `{"code":5,"message":"server \"evrything\" doesn't exist; nearest is \"everything\"","details":[{"@type":"type.googleapis.com/google.rpc.ResourceInfo","resource_type":"server","resource_name":"evrything"}]}`},
		"too large":           {"PUT", "/v1/servers/a", long, 413, `{"code":8,"message":"the body is larger than 4194304 bytes; send less"}`},
		"empty body":          {"PUT", "/v1/servers/a", "", 400, `{"code":3,"message":"the body is empty; send JSON"}`},
		"body on GET":         {"GET", "/v1/servers", "{}", 400, `{"code":3,"message":"GET takes no body"}`},
		"unknown parameter":   {"PUT", "/v1/servers/a?validateonly=true", demo, 400, badRequest("validateonly: is not a query parameter of this call; nearest is validate_only", "validateonly", "is not a query parameter of this call; nearest is validate_only")},
		"parameter in camel":  {"GET", "/v1/servers?pageSize=3", "", 400, badRequest("pageSize: is not a query parameter of this call; nearest is page_size", "pageSize", "is not a query parameter of this call; nearest is page_size")},
		"takes no parameters": {"GET", "/v1/info?verbose=1", "", 400, badRequest("verbose: is not a query parameter of this call; it takes none", "verbose", "is not a query parameter of this call; it takes none")},
		"twice":               {"GET", "/v1/servers?page_size=3&page_size=4", "", 400, badRequest("page_size: is given 2 times; give it once", "page_size", "is given 2 times; give it once")},
		"not a number":        {"GET", "/v1/servers?page_size=many", "", 400, badRequest("page_size: isn't a whole number; write a whole number", "page_size", "isn't a whole number; write a whole number")},
		"not a truth":         {"DELETE", "/v1/servers/a?validate_only=maybe", "", 400, badRequest("validate_only: isn't true or false; write true or false", "validate_only", "isn't true or false; write true or false")},
		"bad query":           {"GET", "/v1/servers?a=%zz", "", 400, `{"code":3,"message":"the query doesn't parse; write it as name=value pairs joined by \u0026, with other characters percent-encoded"}`},
		"negative page":       {"GET", "/v1/servers?page_size=-1", "", 400, badRequest("page_size: is -1; ask for 1 to 1000, or 0 for 100", "page_size", "is -1; ask for 1 to 1000, or 0 for 100")},
		"bad token":           {"GET", "/v1/servers?page_token=zzz", "", 400, badRequest("page_token: isn't a token of this API; send next_page_token of the page before as it came", "page_token", "isn't a token of this API; send next_page_token of the page before as it came")},
		"other name":          {"PUT", "/v1/servers/a", `{"name":"b",` + demo[1:], 400, badRequest(`name: is "b", but the request is for "a"; leave it out or make them equal`, "name", `is "b", but the request is for "a"; leave it out or make them equal`)},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.do(c.method, c.path, c.body)
			want := strings.ReplaceAll(strings.TrimSuffix(c.want, "\n")+"\n", `\u0026`, "&")
			if a.status != c.status || a.body != want {
				t.Errorf("%d %s\nwant\n%d %s", a.status, a.body, c.status, want)
			}
			if ct := a.header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
			if c.status == 405 && !strings.HasSuffix(str(decoded(t, a), "message"), a.header.Get("Allow")) {
				t.Errorf("Allow %q", a.header.Get("Allow"))
			}
		})
	}
}

func decoded(t *testing.T, a answer) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestABodyIsReadStrictly(t *testing.T) {
	p := start(t, memstore.New())
	got := violations(p.must(400, "PUT", "/v1/servers/a", `{"specs":{},"spec":{"endpoints":[{"url":7}],"timeouts":{"firstbyte":"1s"}}}`))
	if len(got) != 3 {
		t.Fatalf("violations: %q", got)
	}
	for i, field := range []string{"specs: ", "spec.endpoints[0].url: ", "spec.timeouts.firstbyte: "} {
		if !strings.HasPrefix(got[i], field) {
			t.Errorf("violation %d: %q", i, got[i])
		}
	}
	for ct, want := range map[string]int{"application/json; charset=utf-8": 200, "application/x-www-form-urlencoded": 200, "": 200, "text/yaml": 415, "multipart/form-data": 415} {
		if a := p.do("PUT", "/v1/servers/a", demo, "Content-Type", ct); a.status != want {
			t.Errorf("%q: %d %s", ct, a.status, a.body)
		}
	}
	if a := p.do("PUT", "/v1/servers/a", demo, "Content-Encoding", "gzip"); a.status != 415 {
		t.Errorf("gzip: %d", a.status)
	}
	if a := p.do("PUT", "/v1/servers/a", demo, "X-HTTP-Method-Override", "DELETE"); a.status != 200 {
		t.Errorf("override: %d", a.status)
	}
	if a := p.do("POST", "/v1/servers", "", "Content-Type", "application/grpc"); a.status != http.StatusHTTPVersionNotSupported {
		t.Errorf("gRPC over HTTP/1.1: %d %s", a.status, a.body)
	}
}

func TestPages(t *testing.T) {
	p := start(t, memstore.New())
	if a := p.do("GET", "/v1/servers", ""); a.body != `{"servers":[]}`+"\n" {
		t.Errorf("empty: %s", a.body)
	}
	if a := p.do("GET", "/v1/settings", ""); a.body != `{"settings":[]}`+"\n" {
		t.Errorf("empty: %s", a.body)
	}
	for i := range 7 {
		p.must(200, "PUT", fmt.Sprintf("/v1/servers/s%d", i), demo)
	}
	for list, want := range map[string]string{"servers": "s0 s1 s2|s3 s4 s5|s6", "changes": "s6 s5 s4|s3 s2 s1|s0"} {
		var pages []string
		for token := ""; ; {
			got := p.must(200, "GET", "/v1/"+list+"?page_size=3&page_token="+token, "")
			var names []string
			for _, o := range at(got, list).([]any) {
				names = append(names, str(o, "name")+str(o, "objects", 0, "name"))
			}
			pages = append(pages, strings.Join(names, " "))
			if token = str(got, "next_page_token"); token == "" {
				break
			}
		}
		if got := strings.Join(pages, "|"); got != want {
			t.Errorf("%s: %s", list, got)
		}
	}
	token := str(p.must(200, "GET", "/v1/servers?page_size=3", ""), "next_page_token")
	if got := violations(p.must(400, "GET", "/v1/changes?page_token="+token, "")); len(got) != 1 || !strings.HasPrefix(got[0], "page_token: belongs to another list") {
		t.Errorf("%q", got)
	}
	if got := p.must(200, "GET", "/v1/nodes", ""); str(got, "nodes", 1, "node") != "dp-2" || str(got, "revision") == "" {
		t.Errorf("nodes: %v", got)
	}
}

func TestPagesStayReadableForGRPCClients(t *testing.T) {
	p := start(t, memstore.New())
	client, ctx := p.dial()
	for i := range 5 {
		s := demoServer(fmt.Sprintf("s%d", i))
		s.Spec.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 4000, protowire.BytesType), make([]byte, 1<<20-100)))
		if _, err := client.PutServer(ctx, &adminv1.PutServerRequest{Name: s.GetName(), Server: s}); err != nil {
			t.Fatal(err)
		}
	}
	var pages []int
	for token := ""; ; {
		got, err := client.ListServers(ctx, &adminv1.ListRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, len(got.GetServers()))
		if token = got.GetNextPageToken(); token == "" {
			break
		}
	}
	if fmt.Sprint(pages) != "[2 2 1]" {
		t.Errorf("pages of 1 MiB objects: %v", pages)
	}
}

func TestPathsOutsideTheService(t *testing.T) {
	var ready atomic.Bool
	p := start(t, memstore.New(), func(c *api.Config, _ *admit.Config) {
		c.Ready = func() error {
			if !ready.Load() {
				return errors.New("no config yet")
			}
			return nil
		}
	}).as("")
	if a := p.do("GET", "/healthz", ""); a.status != 200 || a.body != `{"status":"ok"}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := p.do("GET", "/readyz", ""); a.status != 503 || a.body != `{"reason":"no config yet","status":"not ready"}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	ready.Store(true)
	if a := p.do("GET", "/readyz", ""); a.status != 200 || a.body != `{"revision":1,"status":"ready"}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := p.do("POST", "/healthz", ""); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d %v", a.status, a.header)
	}
	a := p.do("GET", "/openapi.json", "")
	var doc struct {
		Swagger string
		Paths   map[string]any
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(a.body))).Decode(&doc); err != nil || doc.Swagger != "2.0" || doc.Paths["/v1/servers/{name}"] == nil {
		t.Errorf("openapi: %v %.80s", err, a.body)
	}
}
