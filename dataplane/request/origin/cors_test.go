package origin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
)

var pages = &table.Ingress{CORS: []string{"https://app.example.com", "http://localhost:6274"}}

func question(page, method, headers string) http.Header {
	h := http.Header{}
	for k, v := range map[string]string{"Origin": page, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers} {
		if v != "" {
			h.Set(k, v)
		}
	}
	return h
}

func TestPreflight(t *testing.T) {
	head, ok := origin.Preflight(question("https://app.example.com", "POST", "Authorization, content-type,mcp-protocol-version, Mcp-Param-Region, X-MCP-Github-Authorization, "+
		"x-litellm-api-key, x-hopgate-api-key, Last-Event-ID, traceparent, Cookie, x-evil, mcp-a\x00b, mcp-"), pages)
	if !ok {
		t.Fatal("refused")
	}
	for k, want := range map[string]string{
		"Access-Control-Allow-Origin":      "https://app.example.com",
		"Access-Control-Allow-Methods":     "POST, GET, DELETE",
		"Access-Control-Max-Age":           "600",
		"Access-Control-Allow-Headers":     "authorization, content-type, mcp-protocol-version, mcp-param-region, x-mcp-github-authorization, x-litellm-api-key, x-hopgate-api-key, last-event-id, traceparent",
		"Vary":                             "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		"Access-Control-Allow-Credentials": "",
	} {
		if got := head.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
}

func TestWhoIsAnsweredAhead(t *testing.T) {
	twice := question("https://app.example.com", "POST", "")
	twice.Add("Origin", "https://evil.example")
	for name, c := range map[string]struct {
		h   http.Header
		ing *table.Ingress
		ok  bool
	}{
		"a listed page":                   {question("https://app.example.com", "POST", ""), pages, true},
		"a listed page in capitals":       {question("HTTPS://App.example.com:443", "DELETE", ""), pages, true},
		"a listed page with a port":       {question("http://localhost:6274", "GET", ""), pages, true},
		"another page":                    {question("https://evil.example", "POST", ""), pages, false},
		"a page under a listed one":       {question("https://x.app.example.com", "POST", ""), pages, false},
		"a page behind a listed one":      {question("https://app.example.com.evil.example", "POST", ""), pages, false},
		"a listed page on another port":   {question("http://localhost:6275", "POST", ""), pages, false},
		"a listed page by another scheme": {question("http://app.example.com", "POST", ""), pages, false},
		"an opaque page":                  {question("null", "POST", ""), pages, false},
		"no page":                         {question("", "POST", ""), pages, false},
		"two pages":                       {twice, pages, false},
		"an OPTIONS without a question":   {question("https://app.example.com", "", ""), pages, false},
		"no CORS":                         {question("https://app.example.com", "POST", ""), none, false},
		"a rejected ingress":              {question("https://app.example.com", "POST", ""), &table.Ingress{Closed: true, CORS: pages.CORS}, false},
	} {
		if _, ok := origin.Preflight(c.h, c.ing); ok != c.ok {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestWhatPagesMayRead(t *testing.T) {
	dst := http.Header{"Vary": {"Accept"}}
	origin.AllowOrigin(dst, question("https://app.example.com", "", ""), pages)
	if dst.Get("Access-Control-Allow-Origin") != "https://app.example.com" || strings.Join(dst["Vary"], ", ") != "Accept, Origin" {
		t.Errorf("got %v", dst)
	}
	for _, k := range []string{"Mcp-Session-Id", "WWW-Authenticate", "X-Hopgate-Error", "X-Hopgate-Trace-Id", "X-Mcp-Debug-Hops", "X-Mcp-Debug-Origin"} {
		if !strings.Contains(dst.Get("Access-Control-Expose-Headers"), k) {
			t.Errorf("%s isn't exposed", k)
		}
	}
	if _, there := dst["Access-Control-Allow-Credentials"]; there {
		t.Error("cookies are allowed")
	}
	dst = http.Header{}
	origin.AllowOrigin(dst, question("https://evil.example", "", ""), pages)
	if len(dst) != 1 || dst.Get("Vary") != "Origin" {
		t.Errorf("another page: %v", dst)
	}
	dst = http.Header{}
	if origin.AllowOrigin(dst, question("https://app.example.com", "", ""), none); len(dst) != 0 {
		t.Errorf("no CORS: %v", dst)
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	head, ok := origin.Preflight(question("https://app.example.com", "POST", strings.Repeat("mcp-a,", 10000)), pages)
	if n := strings.Count(head.Get("Access-Control-Allow-Headers"), "mcp-a"); !ok || n > 64 {
		t.Errorf("%v, %d headers", ok, n)
	}
}
