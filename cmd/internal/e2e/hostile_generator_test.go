//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
)

// planted is in every credential a stranger sends, and in queries. It must come back nowhere: in no answer and no log line.
const planted = "h0st1le-marker-7f3a"

// stranger makes requests of somebody who knows HTTP, MCP and this gateway, and holds no credential. What it makes depends on its seed alone.
type stranger struct {
	*rand.Rand
	host   string // of the gateway
	issuer string // known there, out of reach
	bomb   string // gzip
	mark   string // what its credentials hold: planted as long as it knows in which header they stand
	b      []byte // under way
}

func newStranger(seed, n uint64, host, issuer string) *stranger {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(bytes.Repeat([]byte{' '}, 2<<20)) //nolint:errcheck // into memory
	w.Close()                                 //nolint:errcheck // into memory
	return &stranger{Rand: rand.New(rand.NewPCG(seed, n)), host: host, issuer: issuer, bomb: z.String(), mark: planted}
}

func (s *stranger) pick(of ...string) string { return of[s.IntN(len(of))] }

// once is true once in n times.
func (s *stranger) once(n int) bool { return s.IntN(n) == 0 }

// noise is n bytes of any kind; of visible ASCII only if it is to stand in a header.
func (s *stranger) noise(n int, visible bool) string {
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(s.Uint32()); visible {
			b[i] = '!' + b[i]%94
		}
	}
	return string(b)
}

// hostileNames are those of servers, each with its own way to a credential, and of what isn't one.
var hostileNames = []string{"plain", "keyed", "bearer", "basic", "literal", "passing", "machine", "exchange", "inside", "ranged"}

func (s *stranger) name() string {
	if s.once(4) {
		return s.pick("unknown", "everything", "mcp", "v1", "admin", "a-b", "..", "%2e%2e", "plain%00", "PLAIN", "plain,keyed", "plain,,", ",", "*", "x"+s.pick("!", "@", ":", ";", "~", "$"), strings.Repeat("n", 1+s.IntN(200)))
	}
	return s.pick(hostileNames...)
}

// path is a request target that is well-formed, if odd at times.
func (s *stranger) path() string {
	var p string
	switch s.IntN(10) {
	case 0, 1, 2, 3:
		p = s.route()
	case 4:
		p = "/.well-known/" + s.pick("oauth-protected-resource", "oauth-authorization-server", "openid-configuration", "jwks.json", "security.txt") + s.pick("", "", "/mcp", s.route(), "/x/y/z")
	case 5:
		p = s.pick("/healthz", "/readyz", "/healthz/", "/readyz/x", "/metrics", "/debug/pprof/", "/ui", "/admin", "/v1/changes", "/v1/info")
	case 6:
		p = s.pick("/v1/mcp/network/client-ip", "/v1/mcp/network/client-ip/", "/v1/mcp/server", "/v1/mcp/server/oauth/plain/token", "/mcp-rest/tools/list", "/mcp-rest/tools/call",
			"/toolset/x/mcp", "/plain/sse", "/mcp/sse", "/v1/responses", "/v1/chat/completions", "/chat/completions")
	case 7:
		p = s.pick("", "/plain", "/"+s.name()) + s.pick("/authorize", "/token", "/register", "/revoke", "/callback") + "?redirect_uri=https://evil.example/&code=" + s.mark
	case 8:
		p = s.pick("/", "//", "//mcp", "/mcp//", "/mcp/../healthz", "/..%2f..%2fetc/passwd", "/%2e%2e/mcp", "/mcp/%00", "/%c0%af/mcp", "/.well-known/../mcp", "/plain;x/mcp", "/plain/mcp/..",
			"/plain/mcp%2f", "/%6dcp", "/mcp/plain/mcp/plain", "/~", "/@", "/:80/mcp", "/*")
	default:
		p = "/" + strings.Repeat(s.pick("a", "/", "../", "%41", "mcp/", "."), 1+s.IntN(s.pickInt(20, 200, 3000)))
	}
	if s.once(6) {
		p += "?" + s.pick("key="+s.mark, "a=b&c", "%zz", "token="+s.mark+"&x=/healthz", s.pick("x", "y")+"="+strings.Repeat("q", s.IntN(500)))
	}
	return p
}

func (s *stranger) pickInt(of ...int) int { return of[s.IntN(len(of))] }

func (s *stranger) route() string {
	switch s.IntN(5) {
	case 0:
		return "/mcp" + s.pick("", "/")
	case 1, 2:
		return "/mcp/" + s.name() + s.pick("", "", "/")
	}
	return "/" + s.name() + "/mcp" + s.pick("", "", "/")
}

// credential is the value of a credential header that opens nothing.
func (s *stranger) credential() string {
	junk := s.mark + s.noise(4+s.IntN(30), true)
	switch s.IntN(9) {
	case 0:
		return s.pick("", "Bearer", "Bearer ", "bearer  ", "Basic", "null", "undefined", "sk-", "Bearer sk-", "Bearer eyJ", "Bearer ..", "Bearer a.b.c", "Negotiate YII=")
	case 1:
		return "Bearer sk-" + junk
	case 2:
		return s.pick("sk-", "", "Bearer ", "bEaReR\t", "Bearer Bearer ", "Digest username=") + junk
	case 3:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+junk))
	case 4:
		return "Bearer " + s.mark + strings.Repeat("x", s.IntN(s.pickInt(100, 1000, 20000)))
	default:
		return s.pick("Bearer ", "Bearer ", "") + s.token(junk)
	}
}

// token looks like a JWT.
func (s *stranger) token(junk string) string {
	if s.once(3) { // right in all but its signature
		return jwttest.Encode(`{"alg":"RS256","kid":"k1"}`) + "." + jwttest.Encode(`{"iss":"`+s.issuer+`","sub":"x","aud":"http://gateway/mcp","exp":4102444800}`) + "." + jwttest.Encode(junk)
	}
	alg := s.pick("none", "None", "RS256", "HS256", "ES256", "EdDSA", "", "RS256\\u0000", "PS512")
	head := fmt.Sprintf(`{"alg":%q,"typ":%q,"kid":%q%s}`, alg, s.pick("JWT", "at+jwt", ""), s.pick("k1", "", "../../etc/passwd", "k"+s.noise(2, true)),
		s.pick("", "", `,"jku":"http://evil.example/jwks"`, `,"crit":["exp"]`, `,"jwk":{"kty":"oct","k":"AA"}`, `,"alg":"RS256"`))
	body := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%s,"exp":%s,"groups":["dev"]}`, s.pick(s.issuer, s.issuer, "http://evil.example", "", s.issuer+"/"), s.pick("x", "", "admin"),
		s.pick(`"http://gateway/mcp"`, `["a"]`, `{}`, `1`, `null`), s.pick("4102444800", "1", "-1", "1e400", `"x"`, "0.5"))
	if s.once(8) {
		body = strings.Repeat("[", 1+s.IntN(3000))
	}
	return s.pick("", "", "", "x") + jwttest.Encode(head) + "." + jwttest.Encode(body) + "." + s.pick("", jwttest.Encode(junk), "AAAA", "!!")
}

// address is an entry of a forwarding header.
func (s *stranger) address() string {
	return s.pick("10.0.0.1", "127.0.0.1", "203.0.113.9", "::1", "[2001:db8::1]:443", "::ffff:10.0.0.7", "fe80::1%eth0", "10.0.0.1:99999", "unknown", "_hidden", "1.2.3", "010.0.0.1", "", " ", `"10.0.0.1"`,
		"10.0.0.1/8", "localhost", s.noise(8, true))
}

// forwarding writes headers in which proxies speak for others.
func (s *stranger) forwarding() {
	list := make([]string, 1+s.IntN(s.pickInt(3, 60)))
	for i := range list {
		list[i] = s.address()
	}
	s.field(s.pick("X-Forwarded-For", "x-forwarded-for", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip"), strings.Join(list, s.pick(", ", ",", " , ", ";")))
	if s.once(2) {
		s.field("X-Forwarded-Proto", s.pick("https", "http", "HTTPS", "https,http", "javascript", "", "ws"))
		s.field("X-Forwarded-Host", s.pick("mcp.example.com", "localhost", "evil.example", "a,b", "admin", "[::1]:80", "x/y", "mcp.example.com:443"))
		s.field("X-Forwarded-Port", s.pick("443", "80", "0", "-1", "99999", "x", "443,80"))
	}
	if s.once(3) {
		s.field("Forwarded", s.pick("for="+s.address(), `for="[::1]:80";proto=https;host=evil.example`, "for=_x;by=y, for=10.0.0.1", ";;;", `for="`, "host="+s.noise(5, true)))
	}
}

// field writes one header line.
func (s *stranger) field(name, value string) {
	s.b = append(append(append(append(s.b, name...), ": "...), value...), "\r\n"...)
}

// extras are headers that MCP or browsers know, and some that nobody does.
func (s *stranger) extras() {
	for range s.IntN(6) {
		switch s.IntN(12) {
		case 0:
			s.field("Mcp-Session-Id", s.pick("1.", "x", "", s.noise(1+s.IntN(80), true), base64.RawURLEncoding.EncodeToString([]byte(s.noise(96, false)))))
		case 1:
			s.field("Mcp-Protocol-Version", s.pick("2025-11-25", "2026-07-28", "2024-11-05", "9999-99-99", "x", ""))
		case 2:
			s.field("Mcp-Method", s.pick("tools/call", "initialize", "", s.noise(5, true)))
			s.field("Mcp-Name", s.pick("echo", "=?base64?ZWNobw==?=", s.noise(9, true)))
		case 3:
			s.field("X-Mcp-"+s.pick(hostileNames...)+"-Authorization", s.credential())
		case 4:
			s.field("Origin", s.pick("https://app.example.com", "https://app.example.com", "null", "http://localhost", "https://evil.example", "app.example.com", ""))
		case 5:
			s.field("Cookie", "session="+s.mark)
		case 6:
			s.field("Traceparent", s.pick("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0-0-0", "ff-x", ""))
			s.field("Tracestate", s.noise(s.IntN(100), true))
		case 7:
			s.field(s.pick("X-Litellm-Mcp-Debug", "X-Hopgate-Debug"), s.pick("true", "1", "yes", "YES", "no"))
		case 8:
			s.field("X-Litellm-End-User-Id", s.noise(s.IntN(300), true))
		case 9:
			s.field("Accept", s.pick("*/*", "application/json, text/event-stream", "text/event-stream", "q=;;", ""))
		case 10:
			s.field("X-"+s.pick("Odd", "Under_score", "x"), s.noise(s.IntN(60), true)+"\xff\x80")
		default:
			s.field(s.pick("Accept-Language", "Via", "Priority", "If-None-Match", "Range", "Proxy-Authorization", "X-Original-Url", "X-Http-Method-Override"), s.pick("/healthz", "DELETE", "bytes=0-1", s.mark))
		}
	}
	if s.once(150) { // many, or large: up to the limits
		for range s.IntN(150) {
			s.field("X-Many", s.noise(s.IntN(100), true))
		}
		s.field("X-Large", strings.Repeat("l", s.IntN(16<<10)))
	}
}

// message is a body.
func (s *stranger) message() string {
	switch s.IntN(10) {
	case 0:
		return ""
	case 1:
		return s.noise(s.IntN(300), false)
	case 2:
		return strings.Repeat(s.pick("[", `{"a":`, `[[`), 1+s.IntN(s.pickInt(100, 2000)))
	case 3:
		return s.bomb
	case 4:
		return `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0"}]`
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"name":%q,"arguments":{"x":%q}}}`, s.pick("1", "null", `"a"`, "1e9", "[]"),
		s.pick("tools/list", "tools/call", "initialize", "ping", "resources/read", "subscriptions/listen", "x"), s.pick("echo", "", "\x00"), strings.Repeat("é", s.IntN(100)))
}

var hostileMethods = []string{"POST", "POST", "POST", "POST", "GET", "GET", "GET", "DELETE", "HEAD", "OPTIONS", "OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "FOO"}

// wellFormed appends a request that keeps to RFC 9112, whatever it says, and returns its method.
func (s *stranger) wellFormed(b []byte) (out []byte, method string) {
	s.b = b
	method = s.pick(hostileMethods...)
	s.b = fmt.Appendf(s.b, "%s %s HTTP/1.1\r\n", method, s.path())
	s.field("Host", s.known())
	for range s.IntN(3) {
		s.field(s.pick("X-Hopgate-Api-Key", "X-Litellm-Api-Key", "Authorization", "authorization"), s.credential())
	}
	if s.once(3) {
		s.forwarding()
	}
	s.extras()
	if method == "OPTIONS" && s.once(2) {
		s.field("Origin", "https://app.example.com")
		s.field("Access-Control-Request-Method", s.pick("POST", "PUT", ""))
		s.field("Access-Control-Request-Headers", s.pick("authorization, mcp-session-id", s.noise(40, true), strings.Repeat("x-mcp-a,", s.IntN(100))))
	}
	if method == "GET" || method == "HEAD" || method == "TRACE" || method == "OPTIONS" || s.once(10) {
		s.b = append(s.b, "\r\n"...)
		return s.b, method
	}
	s.entity(s.message())
	return s.b, method
}

// known is mostly a name of the gateway.
func (s *stranger) known() string {
	if s.once(8) {
		return s.pick("mcp.example.com", "mcp.example.com:443", "evil.example", "admin", "10.0.0.1", "[::1]:4000", "localhost.evil.example", "127.0.0.1.nip.io", "xn--mcp-", strings.Repeat("h", 300))
	}
	return s.pick(s.host, s.host, "localhost", "LOCALHOST:4000", "127.0.0.1:1")
}

// entity ends the head and adds a body.
func (s *stranger) entity(body string) {
	s.field("Content-Type", s.pick("application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "application/json;;", "", "multipart/form-data; boundary=x"))
	if s.once(5) || body == s.bomb {
		s.field("Content-Encoding", s.pick("gzip", "gzip", "br", "identity", "gzip, gzip", "x"))
	}
	if !s.once(12) {
		s.b = fmt.Appendf(s.b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return
	}
	s.b = append(s.b, "Transfer-Encoding: chunked\r\n\r\n"...)
	for len(body) > 0 {
		n := 1 + s.IntN(len(body))
		s.b = fmt.Appendf(s.b, "%x%s\r\n%s\r\n", n, s.pick("", "", ";ext=1"), body[:n])
		body = body[n:]
	}
	s.b = append(s.b, "0\r\n"+s.pick("", "", "X-Trailer: 1\r\n")+"\r\n"...)
}
