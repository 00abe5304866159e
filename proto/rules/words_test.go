package rules_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestRates(t *testing.T) {
	for in, want := range map[string]float64{
		"": 0, "100/s": 100, "6000/m": 100, "1000/h": 1000.0 / 3600, "1/h": 1.0 / 3600, "1000000/s": 1e6, "3600000000/h": 1e6, "007/s": 7,
	} {
		if got, err := rules.Rate(in); err != nil || math.Abs(got-want) > 1e-9 {
			t.Errorf("Rate(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"0/s", "100", "/s", "s", "1/d", "-1/s", "1.5/s", "1e3/s", "1 /s", "1/ s", "1/S", "1000001/s", "9999999999/m", "99999999999/h", "NaN/s", "+1/s"} {
		if got, err := rules.Rate(bad); err == nil {
			t.Errorf("%q is a rate of %v", bad, got)
		}
	}
}

func TestUpstreamHeaders(t *testing.T) {
	for _, fine := range []string{"x-tenant", "X-API-Key", "X_Tenant", "x-request-id", "X-GitHub-Api-Version", "apikey", "x-mcpx", "origin", "x-b3-traceid", "hostname", "!#$%&'*+.^`|~"} {
		if problem := rules.UpstreamHeader(fine); problem != "" {
			t.Errorf("%s %s", fine, problem)
		}
	}
	refused := strings.Fields(`Connection Keep-Alive Proxy-Connection Proxy-Authorization TE Trailer Transfer-Encoding Upgrade HTTP2-Settings
		Host Content-Length Content-Type Content-Encoding content_length Accept Accept-Encoding User-Agent Expect
		Mcp-Session-Id MCP-Protocol-Version Mcp-Param-X X-Mcp-Servers x-mcp-github-authorization Last-Event-ID traceparent TraceState baggage Cookie Set-Cookie
		Forwarded X-Forwarded-For X-FORWARDED-HOST X_Forwarded_Proto Via X-Real-IP X_Real_IP True-Client-IP X-Original-URL
		x-hopgate-api-key X-Hopgate-Debug x-litellm-api-key x_litellm_api_key Authorization AUTHORIZATION If-None-Match Range
		a/b a:b é ` + strings.Repeat("x", 129))
	for _, bad := range append(refused, "", " ", "a b", "a\r\nb", "a\x00") {
		if rules.UpstreamHeader(bad) == "" {
			t.Errorf("%q may be sent", bad)
		}
	}
}

func TestOrigins(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example.com": "https://mcp.example.com", "HTTPS://MCP.Example.COM": "https://mcp.example.com", "https://a:443": "https://a", "http://a:80": "http://a",
		"http://a:443": "http://a:443", "https://a:80": "https://a:80", "https://a:08443": "https://a:8443", "https://a:0443": "https://a", "http://127.0.0.1:4000": "http://127.0.0.1:4000",
		"https://[2001:DB8:0::1]:443": "https://[2001:db8::1]", "http://[::1]:4000": "http://[::1]:4000",
	} {
		if got, err := rules.Origin(in); err != nil || got != want {
			t.Errorf("Origin(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "*", "null", "mcp.example.com", "//mcp.example.com", "https://", "https:///", "https://a/", "https://a/mcp", "https://a?", "https://a?canary", "https://a#", "https://canary@a",
		"https://canary:b@a", "ftp://a", "https://::1", "https://[::1", "https://[fe80::1%25eth0]", "https://a:0", "https://a:65536", "https://a:", "https://a b", "https://a\\b",
		" https://a", "https://a ", "https://a,https://b", "https://*.a", "https://1.2.3", "https:a", "javascript:canary",
	} {
		if got, err := rules.Origin(bad); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("Origin(%q) = %q, %v", bad, got, err)
		}
	}
}

func TestRedirectOriginsAndNativeURIs(t *testing.T) {
	for _, fine := range []string{"app.example.com", "app.example.com:8443", "*.example.com", "localhost", "[::1]:1", "192.0.2.1"} {
		if err := rules.RedirectOrigin(fine); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
	for _, bad := range []string{"", "*", "*.", "*.com", "*.com.", "*.*.example.com", "*.example.com:1", "*.192.0.2.1", "https://a.example.com", "a/b", "a?b", "a@b", "a\\b", "a:b", "a*", "::1"} {
		if rules.RedirectOrigin(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, fine := range []string{"cursor://anysphere.cursor-mcp/oauth/callback", "cursor://host", "cursor://host/*", "cursor://host/a/*", "com.example.app:/cb", "com.example.app:/cb/*"} {
		if err := rules.NativeURI(fine); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
	for _, bad := range []string{
		"", "*", "cursor", "cursor:", "cursor:x", "cursor:*", "cursor:/*", "cursor://*", "cursor:///*", "cursor://h*", "cursor://h/a*", "cursor://h/*/a", "cursor://h/?a", "cursor://h/#a",
		"cursor://u@h/", "cursor://h/../a", "cursor://h/%2E%2e/a", "cursor://h\\a", "https://h/*", "HTTP://h/", "JavaScript:/a", "data:/a", "file:///etc/passwd", "1a://h/", "c r://h/",
	} {
		if rules.NativeURI(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTheDefaultsOfTrustAreWithinTheRules(t *testing.T) {
	if s, err := netrange.NewSet(rules.InternalRanges); err != nil || s.Empty() {
		t.Errorf("internal ranges: %v", err)
	}
	for _, a := range rules.DefaultAlgorithms {
		if !slices.Contains(rules.Algorithms, a) {
			t.Errorf("%s is believed, but nobody may name it", a)
		}
	}
	for _, a := range rules.Algorithms {
		if strings.HasPrefix(a, "HS") || strings.EqualFold(a, "none") {
			t.Errorf("%s may be named", a)
		}
	}
	if want := []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}; !slices.Equal(rules.DefaultForwardedHeaders, want) {
		t.Errorf("read by default are %v", rules.DefaultForwardedHeaders)
	}
	if rules.UpstreamHeader(rules.APIKeyHeader) != "" {
		t.Error("the default header of an api_key may not be sent")
	}
}
