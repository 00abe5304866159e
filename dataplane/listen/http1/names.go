package http1

import (
	"net/textproto"
	"strings"
)

// role is what a field means here.
type role uint8

const (
	plain   role = iota
	unusual      // it changes framing or protocol, or net/http acts on it: handed over
	isHost
	isLength
	isConnection
)

type name struct {
	canonical string
	role      role
}

// names knows the common fields, in lower case and in canonical form, so that their keys aren't made anew for every request.
var names = func() map[string]name {
	all := map[string]role{
		"host": isHost, "content-length": isLength, "connection": isConnection,
		"transfer-encoding": unusual, "te": unusual, "trailer": unusual, "expect": unusual, "upgrade": unusual, "http2-settings": unusual,
		"pragma": unusual,
	}
	for _, n := range []string{
		"accept", "accept-encoding", "accept-language", "authorization", "baggage", "cache-control", "content-encoding", "content-type",
		"cookie", "forwarded", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id", "origin", "priority",
		"referer", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "traceparent", "tracestate", "user-agent", "via",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-hopgate-api-key", "x-hopgate-debug", "x-litellm-api-key",
		"x-litellm-mcp-debug", "x-real-ip", "x-request-id",
	} {
		all[n] = plain
	}
	known := make(map[string]name, 2*len(all))
	for n, r := range all {
		canonical := textproto.CanonicalMIMEHeaderKey(n)
		known[n], known[canonical] = name{canonical, r}, name{canonical, r}
		known[strings.ToLower(n)] = name{canonical, r}
	}
	return known
}()
