package hop

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// refusalLimit bounds the body of an upstream's error answer.
const refusalLimit = 64 << 10

// Refusal is an upstream's error answer.
type Refusal struct {
	// Fault names what happened, remote.
	Fault *fault.Error
	// Body is the upstream's JSON-RPC error, to be passed on with its status; empty when it sent none.
	Body   []byte
	Status int
}

// Refused reads an answer with a status outside 2xx and says what it means. A JSON-RPC body passes verbatim with its status; without one
// the caller gets our fault. session: the request carried a session id, so 404 means that the session is gone, unless it comes with the error for an
// unknown method.
func (a *Answer) Refused(dst []byte, server string, session bool) *Refusal {
	body, err := a.ReadAll(dst, refusalLimit)
	if err != nil {
		body = body[:0]
	}
	r := &Refusal{Status: a.Status, Fault: &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: statusKind(a.Status), Remote: true,
		Server: server, UpstreamStatus: a.Status}}
	if a.Type == transport.JSON && a.Status/100 != 3 && message.IsError(body) {
		r.Body = body
	}
	f := r.Fault
	switch {
	case a.Status/100 == 3:
		f.Phase, f.Kind, f.Remote = fault.Intermediary, fault.Mismatch, false
		f.Message = "a redirect (" + strconv.Itoa(a.Status) + ") came where the MCP server " + server + " should have answered"
		f.Hint = "set the endpoint to the final URL; redirects aren't followed, since they would carry requests elsewhere"
	case a.Status == http.StatusNotFound && session && !lacksMethod(r.Body):
		f.Phase, f.Kind = fault.Session, fault.NotFound
		f.Message = "the server " + server + " doesn't know this session any more"
		f.Hint = "initialize again; the server may have restarted or dropped idle sessions"
	case r.Body != nil:
		otherEra(f, r.Body)
		f.Message = "the server " + server + " refused the request with status " + strconv.Itoa(a.Status)
	case page(a.Type, body), gatewayStatus(a.Status) && a.Type != transport.JSON:
		f.Phase, f.Remote = fault.Intermediary, false
		f.Message = "something in front of the MCP server " + server + " answered in its place (status " + strconv.Itoa(a.Status) + ")"
		f.Hint = "look at the proxy, load balancer or login page between the gateway and the server"
	default:
		f.Message = "the server " + server + " answered with status " + strconv.Itoa(a.Status)
		f.Hint = statusHint(a.Status)
	}
	return r
}

// SessionLost reports whether an error says that the server doesn't know the session any more in which it was called.
func SessionLost(err error) bool {
	f := fault.As(err)
	return f != nil && f.Hop == fault.Upstream && f.Phase == fault.Session && f.Kind == fault.NotFound
}

// OfServer puts the server's name into a fault that names none.
func OfServer(err error, server string) error {
	if f := fault.As(err); f != nil && f.Server == "" {
		f.Server = server
	}
	return err
}

// otherEra says in a fault that the server refused the era of the request or, as revision 2026-07-28 does with 404, its method: that isn't a
// page that is missing.
func otherEra(f *fault.Error, body []byte) {
	switch code := codeOf(body); {
	case code == fault.CodeVersion && f.UpstreamStatus == http.StatusBadRequest:
		f.Kind, f.Code = fault.Unsupported, fault.CodeVersion
	case code == fault.CodeMethodNotFound && f.UpstreamStatus == http.StatusNotFound:
		f.Kind = fault.Unsupported
	}
}

// lacksMethod reports whether a refusal is the error for a method that the server doesn't have: servers of both eras tell it with 404 in both.
func lacksMethod(body []byte) bool { return body != nil && codeOf(body) == fault.CodeMethodNotFound }

// codeOf is the code of a JSON-RPC error; 0 for what is none.
func codeOf(body []byte) int {
	var refusal struct {
		Error struct{ Code int }
	}
	if json.Unmarshal(body, &refusal) != nil {
		return 0
	}
	return refusal.Error.Code
}

// NotMCP is the fault for a 2xx answer that isn't MCP.
func (a *Answer) NotMCP(server string, body []byte) *fault.Error {
	f := &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Server: server, UpstreamStatus: a.Status,
		Message: "the endpoint of " + server + " answered, but not with MCP",
		Hint:    "check the path of the endpoint's URL: an MCP server answers with JSON-RPC or an event stream"}
	if page(a.Type, body) {
		f.Phase, f.Kind = fault.Intermediary, fault.Mismatch
		f.Message = "an HTML page came where the MCP server " + server + " should have answered"
		f.Hint = "look at the proxy, load balancer or login page between the gateway and the server, and at the path of the endpoint's URL"
	}
	return f
}

func gatewayStatus(s int) bool {
	return s == http.StatusBadGateway || s == http.StatusServiceUnavailable || s == http.StatusGatewayTimeout
}

func statusKind(s int) fault.Kind {
	switch s {
	case http.StatusUnauthorized:
		return fault.Unauthenticated
	case http.StatusForbidden:
		return fault.Denied
	case http.StatusNotFound, http.StatusGone:
		return fault.NotFound
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return fault.Unsupported
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return fault.TimedOut
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return fault.TooLarge
	case http.StatusTooManyRequests:
		return fault.Exhausted
	case http.StatusInternalServerError:
		return fault.Internal
	}
	if s >= 500 {
		return fault.Unavailable
	}
	return fault.Malformed
}

func statusHint(s int) string {
	switch {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return "the server wants a credential, or another one than it got: look at spec.auth of the server"
	case s == http.StatusNotFound:
		return "check the path of the endpoint's URL"
	case s == http.StatusTooManyRequests:
		return "the server limits its callers: try again later"
	case s >= 500:
		return "look at the server's own log"
	}
	return ""
}

// Unanswered is the fault for an event stream that ended before the answer was on it.
func Unanswered(server string) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Stream, Kind: fault.Reset, Server: server,
		Message: "the server " + server + " ended its stream without the answer", Hint: "look at the server's own log"}
}

// page reports whether an answer is a page for people.
func page(t transport.ContentType, body []byte) bool {
	return t == transport.HTML || t != transport.JSON && looksLikeHTML(body)
}

// looksLikeHTML sniffs a page where JSON was due.
func looksLikeHTML(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n\xef\xbb\xbf")
	return len(b) > 0 && b[0] == '<'
}
