package session

import (
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/proto/fault"
)

const again = "initialize again"

// gone is a token that doesn't open: 404 and -32001, on which every SDK starts over.
func gone(kind fault.Kind, msg, hint string, cause error) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: kind, Status: http.StatusNotFound, Code: fault.CodeSession,
		Message: msg, Hint: hint, Err: cause}
}

func malformed(cause error) error {
	return gone(fault.Malformed, "Session not found: this isn't a session id that the gateway issued", again, cause)
}

func unknownKey() error {
	return gone(fault.NotFound, "Session not found: it was sealed with a key that this gateway doesn't hold (any more)", again, nil)
}

func expired() error {
	return gone(fault.Expired, "Session not found: it has expired", again, nil)
}

func otherPrincipal() error {
	return gone(fault.Mismatch, "Session not found: it was issued to another caller", "use the credential that the session was opened with, or "+again, nil)
}

func otherEndpoint() error {
	return gone(fault.Mismatch, "Session not found: it was issued on another endpoint", "use the URL that the session was opened on, or "+again, nil)
}

func noRing() error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
		Message: "the gateway can't handle sessions yet: it holds no sealing key",
		Hint:    "wait until the data plane has received its config (/readyz)"}
}

func internal(cause error) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Internal, Status: http.StatusInternalServerError, Code: fault.CodeInternal,
		Message: "the gateway couldn't seal a session", Err: cause}
}

// checkUpstream refuses ids that break MCP's own rule (visible ASCII) or that would make a token too long for a header.
func checkUpstream(c *Claims) error {
	switch {
	case len(c.Upstream) > MaxUpstream:
		return badUpstream(c.Server, fault.TooLarge, "the server's session id is too long")
	case c.Upstream == "":
		return badUpstream(c.Server, fault.Malformed, "the server's session id is empty")
	}
	for i := range len(c.Upstream) {
		if c.Upstream[i] < 0x21 || c.Upstream[i] > 0x7e {
			return badUpstream(c.Server, fault.Malformed, "the server's session id holds a byte that isn't visible ASCII")
		}
	}
	return nil
}

func badUpstream(server string, kind fault.Kind, msg string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: kind, Server: server, Status: http.StatusBadGateway, Message: msg,
		Hint: "the server's Mcp-Session-Id must be 1 to " + strconv.Itoa(MaxUpstream) + " bytes of visible ASCII"}
}
