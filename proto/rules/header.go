package rules

import (
	"slices"
	"strings"
)

// APIKeyHeader is the header of an api_key credential that names none.
const APIKeyHeader = "x-api-key"

const mostHeaderName = 128

// refusedHeader is a header, or with a trailing * the beginning of its name, that operators may not name, and why.
type refusedHeader struct{ names, problem string }

const (
	byHop    = "is between two neighbours and never passed on (RFC 9110 section 7.6.1)"
	byUs     = "is written by the gateway itself"
	byMCP    = "belongs to MCP, which the gateway speaks itself"
	byTrace  = "carries trace context, which the gateway writes itself"
	byProxy  = "says where a request came from, which the server would believe"
	byGate   = "is for the gateway alone: it may carry a gateway credential"
	byAnswer = "changes what a server answers in ways that MCP doesn't know"
)

// refusedHeaders are checked in this order, in lower case and with hyphens for underscores, since servers may take one for the other.
var refusedHeaders = []refusedHeader{
	{"connection keep-alive proxy-* te trailer transfer-encoding upgrade http2-settings", byHop},
	{"host content-* accept accept-* user-agent date expect", byUs},
	{"mcp-* x-mcp-* last-event-id", byMCP},
	{"traceparent tracestate baggage", byTrace},
	{"cookie cookie2 set-cookie set-cookie2", "carries cookies, which the gateway doesn't keep"},
	{"forwarded x-forwarded x-forwarded-* x-original-* via x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip", byProxy},
	{"x-hopgate-* x-litellm-*", byGate},
	{"range if-*", byAnswer},
	{"authorization", "carries a credential, for which there is auth"},
}

// UpstreamHeader says why an operator may not name a header for requests to a server, as in "belongs to MCP, which the gateway speaks
// itself"; empty: he may. Letter case doesn't count. Authorization is refused: who allows it asks before.
func UpstreamHeader(name string) (problem string) {
	switch {
	case name == "":
		return "is missing"
	case len(name) > mostHeaderName:
		return "is too long for a header name"
	case strings.ContainsFunc(name, func(r rune) bool { return !tokenRune(r) }):
		return "is not a header name"
	}
	folded := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, refused := range refusedHeaders {
		if slices.ContainsFunc(strings.Fields(refused.names), func(form string) bool { return matches(form, folded) }) {
			return refused.problem
		}
	}
	return ""
}

// matches reports whether s is form, or begins with it where form ends in *.
func matches(form, s string) bool {
	if begin, ok := strings.CutSuffix(form, "*"); ok {
		return strings.HasPrefix(s, begin)
	}
	return form == s
}

// tokenRune reports whether r may stand in a token (RFC 9110 section 5.6.2).
func tokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r < 0x7f && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
