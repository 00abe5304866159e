package origin

import (
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
)

// exposed are the headers of answers that pages may read. CORS knows no prefixes, so each stands here.
const exposed = "Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, Retry-After, Server-Timing, X-Hopgate-Error, X-Hopgate-Trace-Id, " +
	"X-Mcp-Debug-Auth-Resolution, X-Mcp-Debug-Hops, X-Mcp-Debug-Inbound-Auth, X-Mcp-Debug-Oauth2-Token, X-Mcp-Debug-Origin, " +
	"X-Mcp-Debug-Outbound-Url, X-Mcp-Debug-Route, X-Mcp-Debug-Server-Auth-Type"

// sendable and sendablePrefixes are the headers that pages may send, in lower case.
var (
	sendable         = map[string]bool{"accept": true, "authorization": true, "content-type": true, "last-event-id": true, "traceparent": true, "tracestate": true, "baggage": true}
	sendablePrefixes = []string{"mcp-", "x-mcp-", "x-hopgate-", "x-litellm-"}
)

// most is how many of the asked headers are looked at.
const most = 64

// Preflight answers a browser that asks, by OPTIONS, whether a page may call the gateway (Fetch standard, CORS-preflight fetch). ok is false when it
// isn't such a question or the page's origin isn't among the cors_origins. Of the headers that the page wants to send, those that clients of
// the gateway need are allowed. Cookies never are.
func Preflight(h http.Header, ing *table.Ingress) (head http.Header, ok bool) {
	origin, ok := page(h, ing)
	if !ok || len(h["Access-Control-Request-Method"]) != 1 {
		return nil, false
	}
	head = http.Header{
		"Access-Control-Allow-Origin":  {origin},
		"Access-Control-Allow-Methods": {"POST, GET, DELETE"},
		"Access-Control-Max-Age":       {"600"},
		"Vary":                         {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
	}
	if allowed := asked(h["Access-Control-Request-Headers"]); allowed != "" {
		head["Access-Control-Allow-Headers"] = []string{allowed}
	}
	return head, true
}

// AllowOrigin lets the page that called read the answer, if its origin is among the cors_origins. It adds to dst, and touches it only where
// CORS is configured.
func AllowOrigin(dst, h http.Header, ing *table.Ingress) {
	if len(ing.CORS) == 0 || ing.Closed {
		return
	}
	dst["Vary"] = append(dst["Vary"], "Origin") // also for other pages, so that no cache gives one the answer to another
	if origin, ok := page(h, ing); ok {
		dst["Access-Control-Allow-Origin"] = []string{origin}
		dst["Access-Control-Expose-Headers"] = []string{exposed}
	}
}

// page returns the origin of the page that calls, as the browser wrote it.
func page(h http.Header, ing *table.Ingress) (string, bool) {
	o := h["Origin"]
	if len(o) != 1 || ing.Closed || !among(ing.CORS, o[0]) {
		return "", false
	}
	return o[0], true
}

// asked returns those of the asked headers that may be sent.
func asked(lines []string) string {
	var b strings.Builder
	n := 0
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if n++; n > most {
				return b.String()
			}
			name = strings.ToLower(trim(name))
			if !maySend(name) {
				continue
			}
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(name)
		}
	}
	return b.String()
}

func maySend(name string) bool {
	if sendable[name] {
		return true
	}
	for _, p := range sendablePrefixes {
		if rest, ok := strings.CutPrefix(name, p); ok && len(name) <= 128 && token(rest) {
			return true
		}
	}
	return false
}

// token reports whether s is made of letters, digits, hyphens and underscores, as the rest of a header name.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
