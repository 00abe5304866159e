package message

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/proto/fault"
)

// fault puts a failed scan into words.
func (c *cursor) fault() *fault.Error {
	switch c.fail {
	case deep:
		return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.TooLarge, Code: fault.CodeInvalidRequest, Status: http.StatusBadRequest,
			Message: "the JSON is nested deeper than " + strconv.Itoa(c.limit) + " levels",
			Hint:    "flatten the message, or raise spec.limits.depth in Settings"}
	case repeated, repeatedID:
		return invalid("a name occurs twice in one object, at the root, in params, in ref or in _meta")
	case unsound:
		return invalid("a name at the root, in params, in ref or in _meta isn't valid Unicode")
	case respelled:
		return capitals()
	case notRPC:
		return invalid(`the message needs "jsonrpc": "2.0"`)
	}
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeParse, Status: http.StatusBadRequest,
		Message: "the body isn't valid JSON; the trouble is near byte " + strconv.Itoa(min(c.i, len(c.b)))}
}

// capitals is a message that a server which matches names regardless of case would read differently.
func capitals() *fault.Error {
	f := invalid("a name at the root or in params is one that MCP defines, in other capitals")
	f.Hint = "write names as MCP does: jsonrpc, id, method, params, name, uri, taskId, arguments, cursor, requestId, ref, _meta"
	return f
}

// invalid is JSON that isn't a JSON-RPC message: -32600.
func invalid(msg string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidRequest, Status: http.StatusBadRequest,
		Message: msg}
}

// badMeta is a request of 2026-07-28 without the _meta it needs: -32602.
func badMeta(field string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidParams, Status: http.StatusBadRequest,
		Message: "params._meta needs a valid " + field, Hint: "MCP 2026-07-28 requires it on every request"}
}

// disagree is a header that doesn't match the body, or is missing or malformed: -32020.
func disagree(msg string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Mismatch, Code: fault.CodeHeaderMismatch, Status: http.StatusBadRequest,
		Message: msg}
}

// unsupported is a revision that isn't spoken here: -32022.
func unsupported(supported []string, requested string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Code: fault.CodeVersion, Status: http.StatusBadRequest,
		Message: "this protocol version isn't supported", Data: VersionData(supported, requested)}
}

// VersionData returns the members that data of a -32022 error has, for fault.Error.Data. Of requested at most 256 bytes are echoed.
func VersionData(supported []string, requested string) string {
	if len(requested) > 256 {
		requested = strings.ToValidUTF8(requested[:256], "")
	}
	b := []byte(`"supported":[`)
	for i, v := range supported {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendQuoted(b, v)
	}
	b = append(b, `],"requested":`...)
	return string(AppendQuoted(b, requested))
}

// unreadable is an upstream's answer of which a caller gets nothing, since parsers could read different things out of it. list is the member
// that should be one, so the rest of the sentence.
func unreadable(why problem, list, so string) *fault.Error {
	text := "isn't valid JSON"
	switch why {
	case deep:
		text = "is nested too deeply"
	case repeated, repeatedID, unsound:
		text = "has a member twice, or one whose name isn't valid Unicode"
	case unlisted:
		text = "has something other than a list in " + list
	case notRPC:
		text = "is no JSON-RPC response"
	}
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Status: http.StatusBadGateway,
		Message: "the server's answer " + text + ", so " + so}
}
