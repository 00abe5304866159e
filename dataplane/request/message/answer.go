package message

import (
	"math/big"
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/proto/fault"
)

// answer tells where the parts of an upstream's message stand. Unlike Envelope it trusts: a message for the caller travels as it is, and
// only records and verdicts are made from this.
type answer struct {
	b                         []byte
	id, method, result, error Span
}

// readAnswer reads the root of a message; ok is false when it isn't a JSON object. It stops at a method: no answer has one.
func readAnswer(b []byte) (a answer, ok bool) {
	a.b = b
	ok = members(b, space(b, 0), func(name []byte, value Span) bool {
		switch string(name) {
		case "id":
			a.id = value
		case "method":
			a.method = value
		case "result":
			a.result = value
		case "error":
			a.error = value
		}
		return !a.method.Present()
	})
	return a, ok
}

// members calls f for each member of the object at i until f returns false. It reports whether what it read was well formed; one escape-free
// spelling of names is enough for messages that only records are made from.
func members(b []byte, i int, f func(name []byte, value Span) bool) bool {
	return fields(b, i, func(name, value Span) bool { return f(b[name.Start+1:name.End-1], value) })
}

func (a *answer) response() bool {
	return !a.method.Present() && (a.result.Present() || a.error.Present())
}

// Answers reports whether data is the response to the request with that raw JSON id, and how it went: "ok", "tool_error" for a result with
// isError, else the JSON-RPC error code in decimal. Ids are compared by value: 1 and 1.0 are the same, 1 and "1" are not. An error that names
// no request answers none, but its code is returned.
func Answers(data, id []byte) (answers bool, outcome string) {
	a, ok := readAnswer(data)
	if !ok || !a.response() {
		return false, ""
	}
	if !sameID(a.id.Of(data), id) {
		if raw := a.id.Of(data); a.error.Present() && (len(raw) == 0 || string(raw) == "null") {
			outcome = a.codeString()
		}
		return false, outcome
	}
	switch {
	case a.error.Present():
		return true, a.codeString()
	case a.toolError():
		return true, "tool_error"
	}
	return true, "ok"
}

// ToolError reports whether data is a response whose result says isError.
func ToolError(data []byte) bool {
	a, ok := readAnswer(data)
	return ok && a.response() && a.toolError()
}

// IsResponse reports whether data is a JSON-RPC response, to whichever request.
func IsResponse(data []byte) bool {
	a, ok := readAnswer(data)
	return ok && a.response()
}

// IsError reports whether data is a JSON-RPC error response, with whatever id.
func IsError(data []byte) bool {
	a, ok := readAnswer(data)
	if !ok || !a.response() || a.result.Present() {
		return false
	}
	_, ok = a.code()
	return ok
}

// MayBeMessage reports whether a message can begin with prefix: an opening brace and then, if there is more, a name or the end.
func MayBeMessage(prefix []byte) bool {
	i := space(prefix, 0)
	if i == len(prefix) || prefix[i] != '{' {
		return false
	}
	i = space(prefix, i+1)
	return i == len(prefix) || prefix[i] == '"' || prefix[i] == '}'
}

func (a *answer) member(of Span, want string) (found Span) {
	if of.opens(a.b, '{') {
		members(a.b, of.Start, func(name []byte, value Span) bool {
			if string(name) == want {
				found = value
			}
			return true
		})
	}
	return found
}

func (a *answer) toolError() bool { return string(a.member(a.result, "isError").Of(a.b)) == "true" }

func (a *answer) code() (int, bool) {
	n, err := strconv.Atoi(string(a.member(a.error, "code").Of(a.b)))
	return n, err == nil
}

func (a *answer) codeString() string {
	if n, ok := a.code(); ok {
		return strconv.Itoa(n)
	}
	return "0"
}

// sameID compares two raw ids.
func sameID(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if string(a) == string(b) {
		return true
	}
	if a[0] == '"' || b[0] == '"' {
		return a[0] == b[0] && sameText(a, b)
	}
	return sameNumber(a, b)
}

func sameText(a, b []byte) bool {
	x, ok := decode(a[1:len(a)-1], nil)
	y, ok2 := decode(b[1:len(b)-1], nil)
	return ok && ok2 && string(x) == string(y)
}

// sameNumber compares exactly; numbers longer than any client counts to are equal only when spelled alike.
func sameNumber(a, b []byte) bool {
	if len(a) > 32 || len(b) > 32 || exponent(a) || exponent(b) {
		return false
	}
	x, ok := new(big.Rat).SetString(string(a))
	y, ok2 := new(big.Rat).SetString(string(b))
	return ok && ok2 && x.Cmp(y) == 0
}

func exponent(n []byte) bool {
	for _, c := range n {
		if c == 'e' || c == 'E' {
			return true
		}
	}
	return false
}

// InitializeResult returns the revision that an initialize result settles on.
func InitializeResult(data []byte) (revision string, ok bool) {
	a, ok := readAnswer(data)
	if !ok || !a.response() {
		return "", false
	}
	revision = text(a.member(a.result, "protocolVersion"), data, 64)
	return revision, revision != ""
}

// Discover takes the answer to a modern server/discover as evidence: modern says whether the server speaks 2026-07-28, ok whether the answer
// tells. Credentials, timeouts and failures of the server or of what is in front of it tell nothing.
func Discover(status int, data []byte) (modern, ok bool) {
	if !telling(status) {
		return false, false
	}
	a, isMessage := readAnswer(data)
	if !isMessage || !a.response() {
		return false, status == http.StatusBadRequest
	}
	if a.result.Present() {
		list := a.member(a.result, "supportedVersions")
		return a.lists(list, modernRevision), list.opens(data, '[')
	}
	code, _ := a.code()
	switch code {
	case fault.CodeVersion:
		return a.lists(a.supported(), modernRevision), true
	case fault.CodeHeaderMismatch, fault.CodeCapability:
		return true, true
	case fault.CodeMethodNotFound:
		return status == http.StatusNotFound, true
	case fault.CodeInvalidRequest, fault.CodeUpstream, fault.CodeSession:
		return false, true
	}
	return false, false
}

// Initialized takes the answer to a legacy initialize as evidence: legacy says whether the server takes the handshake, ok whether the answer
// tells. Only a server that names its versions counts as having said no.
func Initialized(status int, data []byte) (legacy, ok bool) {
	a, isMessage := readAnswer(data)
	if !telling(status) || !isMessage || !a.response() {
		return false, false
	}
	if _, ok := InitializeResult(data); ok {
		return true, true
	}
	if code, _ := a.code(); code != fault.CodeVersion {
		return false, false
	}
	list := a.supported()
	return a.lists(list, legacyRevision), list.opens(data, '[')
}

// telling reports whether a status is the MCP server's own word on the message.
func telling(status int) bool {
	switch status {
	case http.StatusOK, http.StatusBadRequest, http.StatusNotFound:
		return true
	}
	return false
}

func (a *answer) supported() Span { return a.member(a.member(a.error, "data"), "supported") }

// lists reports whether an array of strings has one that is wanted.
func (a *answer) lists(array Span, wanted func(string) bool) bool {
	if !array.opens(a.b, '[') {
		return false
	}
	for i := space(a.b, array.Start+1); a.b[i] != ']'; {
		end, _ := skip(a.b, i, MaxDepth)
		if wanted(text(Span{i, end}, a.b, 64)) {
			return true
		}
		if i = space(a.b, end); a.b[i] == ',' {
			i = space(a.b, i+1)
		}
	}
	return false
}

func modernRevision(rev string) bool { return rev == Rev20260728 }
func legacyRevision(rev string) bool { return legacy(rev) }
