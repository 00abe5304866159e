package session

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/proto/fault"
)

const again = "initialize again"

// thing is what a token stands for, in the words of its refusals.
type thing struct{ what, it string }

var (
	theSession = thing{"a session id", "it"}
	theRequest = thing{"the id of a request", "the request's id"}
	theEvent   = thing{"an event id", "the event id"}
)

// gone is a token that doesn't open: 404 and -32001, on which every SDK starts over.
func gone(kind fault.Kind, msg, hint string, cause error) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: kind, Status: http.StatusNotFound, Code: fault.CodeSession,
		Message: "Session not found: " + msg, Hint: hint, Err: cause}
}

// refuse tells why a token doesn't open.
func (t thing) refuse(err error) error {
	switch {
	case errors.Is(err, seal.ErrMalformed):
		return t.malformed(err)
	case errors.Is(err, seal.ErrUnknownKey):
		return gone(fault.NotFound, t.it+" was sealed with a key that this gateway doesn't hold (any more)", again, nil)
	case errors.Is(err, seal.ErrOtherPrincipal):
		return gone(fault.Mismatch, t.it+" was issued to another caller", "use the credential that the session was opened with, or "+again, nil)
	case errors.Is(err, seal.ErrOtherEndpoint):
		return gone(fault.Mismatch, t.it+" was issued on another endpoint", "use the URL that the session was opened on, or "+again, nil)
	case errors.Is(err, seal.ErrExpired):
		return gone(fault.Expired, t.it+" has expired", again, nil)
	}
	return unsealed(err)
}

func (t thing) malformed(cause error) error {
	return gone(fault.Malformed, "this isn't "+t.what+" that the gateway issued", again, cause)
}

// otherKind is a session of one server where one of many is wanted, or the other way round.
func otherKind() error {
	return gone(fault.Mismatch, "it was issued when this URL was of another kind: of one server, or of several", again, nil)
}

// badCursor is a cursor that doesn't open: 400 and -32602, on which a client asks for the first page.
func badCursor(why string, cause error) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest, Code: fault.CodeInvalidParams,
		Message: "bad cursor: " + why, Hint: "ask for the first page, without a cursor", Err: cause}
}

func refuseCursor(err error) error {
	switch {
	case errors.Is(err, seal.ErrMalformed):
		return badCursor("the gateway didn't issue it for this list", err)
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrOtherPrincipal), errors.Is(err, seal.ErrOtherEndpoint), errors.Is(err, seal.ErrExpired):
		return badCursor("it was "+err.Error(), nil)
	}
	return unsealed(err)
}

// unsealed is for what is the gateway's own.
func unsealed(err error) error {
	if errors.Is(err, seal.ErrNoRing) {
		return noRing()
	}
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Internal, Status: http.StatusInternalServerError, Code: fault.CodeInternal,
		Message: "the gateway couldn't seal or open a token", Err: err}
}

func noRing() error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
		Message: "the gateway can't handle sessions yet: it holds no sealing key",
		Hint:    "wait until the data plane has received its config (/readyz)"}
}

// CheckUpstream refuses session ids that break MCP's own rule (visible ASCII) or that would make a token too long for a header. Its error is a
// *fault.Error of hop=upstream, phase=headers. An empty id is none, and passes.
func CheckUpstream(server, id string) error {
	if len(id) > MaxUpstream {
		return badUpstream(server, fault.TooLarge, "the server's session id is too long")
	}
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return badUpstream(server, fault.Malformed, "the server's session id holds a byte that isn't visible ASCII")
		}
	}
	return nil
}

func emptyUpstream(server string) error {
	return badUpstream(server, fault.Malformed, "the server's session id is empty")
}

func badUpstream(server string, kind fault.Kind, msg string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: kind, Server: server, Status: http.StatusBadGateway, Message: msg,
		Hint: "the server's Mcp-Session-Id must be 1 to " + strconv.Itoa(MaxUpstream) + " bytes of visible ASCII"}
}

// tooLong is something of a server's that doesn't fit into a token.
func tooLong(server, what string, most int) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.TooLarge, Server: server, Status: http.StatusBadGateway,
		Message: "the server's " + what + " is too long to be passed on", Hint: "it must be at most " + strconv.Itoa(most) + " bytes"}
}
