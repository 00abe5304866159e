package request

import (
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// Requests that endpoints of several servers can do nothing with: without the field that says whom they are for, or of a method that isn't there.

// noSubject refuses a request that doesn't say in a field of params what it is about: what belongs there.
func (x *exchange) noSubject(field, what string) error {
	problem, params := "is missing", x.env.Params.Of(x.body)
	at := map[string]message.Span{"name": x.env.Name, "uri": x.env.URI, "ref.name": x.env.RefName, "ref.uri": x.env.RefURI}[field]
	switch {
	case len(params) > 0 && params[0] != '{':
		field, problem = "", "isn't an object"
	case at.Present() && x.body[at.Start] == '"':
		problem = "is empty"
	case at.Present():
		problem = "isn't a string"
	}
	full := strings.TrimSuffix("params."+field, ".")
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest, Code: fault.CodeInvalidParams,
		Message: full + " of " + x.rec.Method + " " + problem, Hint: "send " + what + " there"}
}

// unknownMethod refuses a method that endpoints of several servers don't have. Methods that nobody has, those of another era, what servers send,
// and those that only endpoints of one server pass on are different mistakes.
func unknownMethod(x *exchange) error {
	f := &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: http.StatusOK, Code: fault.CodeMethodNotFound}
	if x.era == message.Modern {
		f.Status = http.StatusNotFound // 2026-07-28, error codes
	}
	method := x.rec.Method
	switch {
	case method == "":
		f.Message, f.Hint = "Method not found: its name is empty", "name a method of MCP, like tools/list"
	case !message.KnownMethod(method):
		f.Message = "Method not found: no revision of MCP has " + shown(method)
		f.Hint = "look at its spelling; what a server has beyond MCP is at its own endpoint, /{server}/mcp"
	case !x.has() && x.era == message.Modern:
		f.Message, f.Hint = "Method not found: MCP 2026-07-28 has no "+method+" any more", "leave it out, or speak an earlier revision in a session"
	case !x.has():
		f.Message = "Method not found: " + method + " came with MCP 2026-07-28, and this request is of an earlier revision"
		f.Hint = "send MCP-Protocol-Version: 2026-07-28 and the params._meta that it requires, or use initialize"
	case fromServers(method):
		f.Message, f.Hint = "Method not found: "+method+" isn't a request that clients make", "it is for servers to ask, or a notification without an id"
	default:
		f.Hop, f.Phase = fault.Gateway, fault.Route
		f.Message, f.Hint = "Method not found: endpoints of several servers don't have "+method, "send it to the endpoint of one server, /{server}/mcp"
	}
	return f
}

// fromServers reports whether a method of MCP is no request of a client's.
func fromServers(method string) bool {
	switch method {
	case "sampling/createMessage", "elicitation/create", "roots/list":
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}
