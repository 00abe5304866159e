package request_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// inbound is what a caller sends beside its key and the protocol's own headers, and what of it reaches a server whose config names headers.
// A server whose config names none sees nothing of any of them.
type inbound struct {
	send   string // header lines; the body goes in chunks if they say so
	want   string // at the server, "Name: value" in the order of names
	status int    // 0: 200
}

// The server my_up lets callers set authorization and x-tenant, and is passed x-request-tag and x-under_score.
var travellers = []inbound{
	// Named in client_headers.
	{send: "X-Mcp-My_up-Authorization: Bearer mine", want: "Authorization: Bearer mine"},
	{send: "X-Mcp-My-Up-Authorization: Bearer mine", want: "Authorization: Bearer mine"},
	{send: "X-MCP-MY_UP-AUTHORIZATION: Bearer mine", want: "Authorization: Bearer mine"},
	{send: "x-mcp-my_up-x-tenant: t", want: "X-Tenant: t"},
	{send: "x-mcp-my-up-x-tenant:  t \t", want: "X-Tenant: t"},
	{send: "X-Mcp-My_up-X-Tenant: "},
	{send: "X-Mcp-My_up-X-Tenant: a\r\nX-Mcp-My-Up-X-Tenant: b", status: 400},
	{send: "X-Mcp-My_up-X-Tenant: a\r\nX-Mcp-My_up-X-Tenant: b", status: 400},
	{send: "X-Mcp-My_up-X-Tenant: " + strings.Repeat("t", 17<<10), status: 400},
	{send: "X-Mcp-My_up-X-Tenant: " + alice, status: 403},
	{send: "X-Mcp-My_up-Authorization: Bearer " + bob, status: 403},
	// Named in forward_headers.
	{send: "X-Request-Tag: r", want: "X-Request-Tag: r"},
	{send: "x-REQUEST-tag: r", want: "X-Request-Tag: r"},
	{send: "X-Request-Tag: a\r\nX-Request-Tag: b", want: "X-Request-Tag: a, b"},
	{send: "X-Under_score: u", want: "X-Under_score: u"},
	{send: "X-Request-Tag:"},
	{send: "X-Request-Tag: Bearer " + alice, status: 403},
	// Almost named.
	{send: "X-Mcp-My_up-X-Unlisted: u"}, {send: "X-Mcp-My_up-X_tenant: t"}, {send: "X-Mcp-My_up-: t"}, {send: "X-Mcp-Myup-X-Tenant: t"}, {send: "X_mcp_my_up_x-tenant: t"},
	{send: "X-Mcp-Plain-X-Tenant: t"}, {send: "X-Mcp-Plain-Authorization: Bearer theirs"}, {send: "X-Mcp-Other-Authorization: Bearer theirs"}, {send: "X-Mcp-Authorization: Bearer x"},
	{send: "X-Tenant: t"}, {send: "X_request_tag: r"}, {send: "X-Request_tag: r"}, {send: "X-Under-Score: u"}, {send: "X-Request-Tag-2: r"},
	// Credentials.
	{send: "Authorization: Bearer upstream-token-0123456789"}, {send: "Authorization: Basic dTpw"}, {send: "Cookie: session=1"}, {send: "Cookie2: $Version=1"}, {send: "Set-Cookie: a=b"},
	{send: "X-Api-Key: k"}, {send: "Api-Key: k"}, {send: "X-Auth-Token: k"}, {send: "X-Amz-Security-Token: k"}, {send: "X-Hopgate-End-User-Id: u"}, {send: "X-Litellm-End-User-Id: u"},
	{send: "Proxy-Authorization: Basic x"}, {send: "Proxy-Authenticate: Basic"},
	// Hop by hop (RFC 9110 section 7.6.1). Those that the connection names travel by the config's word alone.
	{send: "Connection: close"}, {send: "Connection: X-Tenant, X-Mcp-My_up-Nothing\r\nX-Tenant: t"}, {send: "Connection: close, X-Request-Tag\r\nX-Other: r"}, {send: "Keep-Alive: timeout=5"},
	{send: "Te: trailers"}, {send: "Upgrade: h2c"}, {send: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"}, {send: "Proxy-Connection: keep-alive"},
	{send: "Trailer: X-Request-Tag\r\nTransfer-Encoding: chunked"}, {send: "Transfer-Encoding: chunked"}, {send: "Expect: 100-continue"}, {send: "Pragma: no-cache"},
	// Words of intermediaries.
	{send: "X-Forwarded-For: 10.0.0.1"}, {send: "X-Forwarded-Host: localhost"}, {send: "X-Forwarded-Proto: https"}, {send: "X-Forwarded-Port: 443"}, {send: "X-Forwarded-Prefix: /x"},
	{send: "X-Forwarded-User: root"}, {send: "X-Forwarded-Access-Token: t"}, {send: "X-Forwarded-Client-Cert: c"}, {send: "Forwarded: for=10.0.0.1"}, {send: "X-Real-Ip: 10.0.0.1"},
	{send: "Via: 1.1 x"}, {send: "X-Original-Url: /admin"}, {send: "X-Rewrite-Url: /admin"}, {send: "X-Original-Host: h"}, {send: "X-Http-Method-Override: DELETE"}, {send: "Cf-Connecting-Ip: 10.0.0.1"},
	{send: "X-Remote-User: root"}, {send: "X-Amzn-Oidc-Data: x"}, {send: "X-Envoy-Original-Path: /x"},
	// Of the protocol, but not by callers' choice.
	{send: "Mcp-Session-Id: forged", status: 404}, {send: "Last-Event-Id: 7"}, {send: "Mcp-Method: tools/call"}, {send: "Mcp-Name: x"}, {send: "Mcp-Param-X: 1"}, {send: "Mcp-Odd: 1"},
	{send: "X-Mcp-Servers: plain"}, {send: "X-Mcp-Debug-Hops: x"}, {send: "X-Litellm-Mcp-Debug: true"}, {send: "X-Hopgate-Error: hop=x"},
	// Traces, caches, browsers and the rest.
	{send: "Tracestate: a=b"}, {send: "Baggage: a=b"}, {send: "X-B3-Traceid: 1"}, {send: "X-Request-Id: 1"}, {send: "X-Datadog-Trace-Id: 1"}, {send: "If-None-Match: \"x\""}, {send: "Range: bytes=0-1"},
	{send: "Cache-Control: no-cache"}, {send: "Accept-Language: de"}, {send: "Accept-Encoding: gzip"}, {send: "Content-Language: de"}, {send: "Content-Encoding: identity"}, {send: "Origin: http://localhost"},
	{send: "Referer: http://localhost/"}, {send: "User-Agent: spy/1"}, {send: "Sec-Fetch-Site: cross-site"}, {send: "Dnt: 1"}, {send: "X-Odd: \xff\xfe"}, {send: "From: a@example.com"}, {send: "Priority: u=1"},
}

// The header table: of each header that callers send, this and nothing else reaches a server.
func TestHeadersThatTravel(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := settings{servers: map[string]*configv1.ServerSpec{"plain": server(up.URL), "my_up": server(up.URL)},
		keys: map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"*"}}}}
	s.servers["my_up"].ClientHeaders, s.servers["my_up"].ForwardHeaders = []string{"authorization", "x-tenant"}, []string{"x-request-tag", "x-under_score"}
	g := start(t, s)
	for _, row := range travellers {
		for name, want := range map[string]string{"plain": "", "my_up": row.want} {
			status := row.status
			if name == "plain" && status != 404 {
				status = 0
			}
			before := len(up.Seen())
			if got := g.speak(t, "/"+name+"/mcp", row.send); got != max(status, 200) && (status != 0 || got != 200) {
				t.Errorf("%s: %.80q: status %d", name, row.send, got)
			}
			seen := up.Seen()[before:]
			if (len(seen) == 1) != (status == 0) {
				t.Errorf("%s: %.80q: %d requests went out", name, row.send, len(seen))
				continue
			}
			if status == 0 {
				if got := beside(seen[0].Header); got != want {
					t.Errorf("%s: %.80q: the server saw %q, want %q", name, row.send, got, want)
				}
			}
		}
	}
}

// speak sends a list of tools with the given header lines on a connection of its own and returns the status.
func (g *gateway) speak(t *testing.T, path, lines string) int {
	t.Helper()
	c := g.dial(t)
	defer c.Close() //nolint:errcheck // a test's connection
	framing, body := fmt.Sprintf("Content-Length: %d", len(list)), list
	if strings.Contains(lines, "chunked") {
		framing, body = "X-Dummy: 1", fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Request-Tag: from-a-trailer\r\n\r\n", len(list), list)
	}
	fatal(t, write(c, head("POST", path, carol, framing, lines)+body))
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%.80q: %v", lines, err)
		}
		io.Copy(io.Discard, res.Body) //nolint:errcheck // only the status counts
		res.Body.Close()
		if res.StatusCode != http.StatusContinue {
			return res.StatusCode
		}
	}
}

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// beside are the headers of a request that MCP and HTTP don't want themselves, in the order of names.
func beside(h http.Header) string {
	own := []string{"Accept", "Content-Length", "Content-Type", "Mcp-Protocol-Version", "Traceparent", "User-Agent"}
	var out []string
	for name, values := range h {
		if !slices.Contains(own, name) || len(values) != 1 || name == "User-Agent" && values[0] != "hopgate/test" {
			out = append(out, name+": "+strings.Join(values, " AND "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// What is too large or can't be read is refused with a fault, whoever refuses it, and the next caller is served.
func TestHeadsBeyondTheirLimits(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	plain, secure := startBoth(t, one(up.URL))
	call := func(lines ...string) string {
		return head("POST", "/up/mcp", alice, append(lines, fmt.Sprintf("Content-Length: %d", len(list)))...) + list
	}
	many := strings.Split(strings.TrimSpace(strings.Repeat("X-Many: 1\n", 2500)), "\n")
	for name, c := range map[string]struct {
		raw    string
		status int
		fault  string
	}{
		"many headers":           {call(many...), 200, ""},
		"too many headers":       {call(append(many, many...)...), 431, "hop=client; phase=limit; kind=too_large"},
		"large header":           {call("X-Large: " + strings.Repeat("x", 30<<10)), 200, ""},
		"too large header":       {call("X-Large: " + strings.Repeat("x", 40<<10)), 431, "hop=client; phase=limit; kind=too_large"},
		"far too large header":   {call("X-Large: " + strings.Repeat("x", 2<<20)), 431, "hop=client; phase=limit; kind=too_large"},
		"long path":              {head("GET", "/"+strings.Repeat("p", 25<<10), alice), 404, "hop=client; phase=route; kind=not_found"},
		"too long path":          {head("GET", "/"+strings.Repeat("p", 40<<10), alice), 431, "hop=client; phase=limit; kind=too_large"},
		"long query":             {head("GET", "/nowhere?"+strings.Repeat("q", 25<<10), alice), 404, "hop=client; phase=route; kind=not_found"},
		"many slashes":           {head("GET", strings.Repeat("/", 20<<10), alice), 404, "hop=client; phase=route; kind=not_found"},
		"long name of a server":  {head("GET", "/"+strings.Repeat("n", 65)+"/mcp", alice), 404, "hop=client; phase=route; kind=not_found"},
		"two hosts":              {call("Host: localhost"), 400, "hop=client; phase=request; kind=malformed"},
		"two lengths":            {call("Content-Length: 3"), 400, "hop=client; phase=request; kind=malformed"},
		"negative length":        {head("POST", "/up/mcp", alice, "Content-Length: -1") + list, 400, "hop=client; phase=request; kind=malformed"},
		"overflowing length":     {head("POST", "/up/mcp", alice, "Content-Length: 18446744073709551616") + list, 400, "hop=client; phase=request; kind=malformed"},
		"another coding":         {head("POST", "/up/mcp", alice, "Transfer-Encoding: gzip") + list, 501, "hop=client; phase=request; kind=unsupported"},
		"HTTP/3.0":               {"GET /up/mcp HTTP/3.0\r\nHost: localhost\r\n\r\n", 505, "hop=client; phase=request; kind=unsupported"},
		"another expectation":    {call("Expect: the-spanish-inquisition"), 417, "hop=client; phase=request; kind=unsupported"},
		"a line without a colon": {call("hello"), 400, "hop=client; phase=request; kind=malformed"},
		"a folded line":          {call("X-A: a\r\n b"), 200, ""},
		"blank before the colon": {call("X-A : a"), 400, "hop=client; phase=request; kind=malformed"},
		"a bare return":          {call("X-A: a\rb"), 400, "hop=client; phase=request; kind=malformed"},
		"NUL":                    {call("X-A: a\x00b"), 400, "hop=client; phase=request; kind=malformed"},
		"no method":              {" /up/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "hop=client; phase=request; kind=malformed"},
	} {
		for before, first := range map[string]string{"": "", ", after another": call(), ", after an unusual one": call("Pragma: no-cache")} {
			plain.refuses(t, name+before, first, c.raw, c.status, c.fault)
			secure.refuses(t, name+before+", in TLS", first, c.raw, c.status, c.fault)
		}
	}
	plain.refuses(t, "TLS on a plain socket", "", "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03\r\n\r\n", 400, "hop=client; phase=request; kind=malformed")
	for _, g := range []*gateway{plain, secure} {
		if log := g.flushed(); strings.Contains(log, strings.Repeat("p", 2000)) || strings.Contains(g.log.String(), strings.Repeat("p", 2000)) {
			t.Error("a path of any length is written to the log")
		}
	}
}

// startBoth starts two gateways of the same config, the second in TLS.
func startBoth(t *testing.T, s settings) (plain, secure *gateway) {
	t.Helper()
	plain = start(t, s)
	s.listen.TLS = &tls.Config{Certificates: []tls.Certificate{*issued(t, holder{dns: []string{"localhost"}}, nil)}, MinVersion: tls.VersionTLS12}
	return plain, start(t, s)
}

// reach opens a connection in whatever the gateway speaks.
func (g *gateway) reach(t *testing.T) net.Conn {
	t.Helper()
	c := g.dial(t)
	if strings.HasPrefix(g.url, "https:") {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the gateway isn't who is looked at here
	}
	return c
}

// refuses sends first, which must be answered with 200, and then raw on the same connection.
func (g *gateway) refuses(t *testing.T, name, first, raw string, status int, fault string) {
	t.Helper()
	c := g.reach(t)
	defer c.Close() //nolint:errcheck // a test's connection
	r := bufio.NewReader(c)
	if first != "" {
		fatal(t, write(c, first))
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: the first: %v", name, err)
		}
		io.Copy(io.Discard, res.Body) //nolint:errcheck // read to its end
		res.Body.Close()
	}
	go write(c, raw) //nolint:errcheck // it may be refused before its end
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer res.Body.Close() //nolint:errcheck // a test's connection
	body, err := io.ReadAll(res.Body)
	got := res.Header.Get("X-Hopgate-Error")
	if err != nil || res.StatusCode != status || fault != "" && got != fault || fault == "" && got != "" {
		t.Errorf("%s: %d %q, want %d %q: %s, %v", name, res.StatusCode, got, status, fault, body, err)
	}
	if fault == "" {
		return
	}
	if kind := fault[strings.LastIndex(fault, "=")+1:]; !strings.Contains(string(body), `"kind":"`+kind+`"`) || !strings.HasPrefix(string(body), `{"jsonrpc":"2.0","id":null,"error":{`) {
		t.Errorf("%s: %s", name, body)
	}
}

// A request with two lengths, of which somebody in front may have believed the other one, is the last of its connection (RFC 9112 section 6.3).
func TestNothingIsSmuggledBehindTwoLengths(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	inPlain, secure := startBoth(t, one(up.URL))
	body := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(list), list)
	plain, chunks := head("GET", "/healthz", alice), "Transfer-Encoding: chunked"
	for name, c := range map[string]struct {
		raw     string
		answers int // at most; as many where no length is in play
	}{
		"length first":          {head("POST", "/up/mcp", alice, "Content-Length: 4", chunks) + body, 1},
		"chunks first":          {head("POST", "/up/mcp", alice, chunks, "content-LENGTH: 4") + body, 1},
		"to a stranger":         {head("POST", "/up/mcp", "sk-unknown-0123456789", "Content-Length: 4", chunks) + body, 1},
		"behind an unusual one": {head("GET", "/healthz", alice, "Pragma: no-cache") + head("POST", "/up/mcp", alice, "Content-Length: 4", chunks) + body, 2},
		"behind one in chunks":  {head("POST", "/up/mcp", alice, chunks) + body + head("POST", "/up/mcp", alice, "Content-Length: 4", chunks) + body, 2},
		"chunks alone":          {head("POST", "/up/mcp", alice, chunks) + body, 2},
		"chunks alone, twice":   {head("POST", "/up/mcp", alice, chunks) + body + head("POST", "/up/mcp", alice, chunks) + body, 3},
	} {
		for _, size := range []int{1 << 20, 1000, 7} { // in one piece, and in pieces that end anywhere
			for _, g := range []*gateway{inPlain, secure} {
				n := g.answers(t, c.raw+plain, size)
				if n < 1 || n > c.answers || n != c.answers && !strings.Contains(strings.ToLower(c.raw), "content-length") {
					t.Errorf("%s, %.5s, in pieces of %d: %d answers, want %d", name, g.url, size, n, c.answers)
				}
			}
		}
	}
}

// answers sends raw bytes in pieces and counts what is answered.
func (g *gateway) answers(t *testing.T, raw string, size int) (n int) {
	t.Helper()
	c := g.reach(t)
	defer c.Close() //nolint:errcheck // a test's connection
	go func() {
		for raw != "" {
			n := min(size, len(raw))
			if write(c, raw[:n]) != nil {
				return
			}
			raw = raw[n:]
		}
		c.(interface{ CloseWrite() error }).CloseWrite() //nolint:errcheck,forcetypeassert // of TCP and of TLS
	}()
	for r := bufio.NewReader(c); ; n++ {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return n
		}
		io.Copy(io.Discard, res.Body) //nolint:errcheck // only the number counts
		res.Body.Close()
	}
}
