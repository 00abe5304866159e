package credential

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// leak refuses to send somebody's gateway credential to an upstream.
func leak(server, header string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.CredentialLeak, Server: server,
		Message: "the header " + strings.ToLower(header) + " holds a gateway credential, which is never sent to an upstream",
		Hint:    "send the gateway key in x-hopgate-api-key or x-litellm-api-key, and in this header what the server itself wants"}
}

// heldLeak is the same for what the operator configured.
func heldLeak(server, header string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.CredentialLeak, Server: server,
		Message: "what the gateway was told to send as " + strings.ToLower(header) + " to the server " + server + " holds a gateway credential, which is never sent to an upstream",
		Hint:    "the operator gave the server a key of this gateway as its credential: change the secret or the header in its config"}
}

// noSecret names the secret in the cause only: callers needn't know the operator's names.
func noSecret(server, secret string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Config, Kind: fault.NotFound, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
		Server: server, Message: "the credential of the server " + server + " isn't on this data plane, so the server isn't called",
		Hint: "the operator finds the missing secret's name in the log: create it, or look at `hopgate status` why it didn't arrive",
		Err:  fmt.Errorf("there is no secret %q", secret)}
}

func badSecret(server, secret string) error {
	return misconfigured(server, "the credential of the server "+server+" can't be sent in a header",
		"write the secret anew: at most 16 KiB of visible ASCII; the log names it", fmt.Errorf("the secret %q is too long or has control characters", secret))
}

func unknownAuth(server string) error {
	return misconfigured(server, "this data plane doesn't know how to authenticate to the server "+server,
		"the config is newer than this data plane: upgrade it, or change spec.auth of the server", nil)
}

func misconfigured(server, message, hint string, err error) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Config, Kind: fault.Malformed, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
		Server: server, Message: message, Hint: hint, Err: err}
}

// nothingToPass isn't 401: the caller is admitted, and a client that signs in at the gateway again would gain nothing.
func nothingToPass(server string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Unauthenticated, Status: http.StatusForbidden, Server: server,
		Message: "the server " + server + " wants the caller's own Authorization, and there is none",
		Hint:    "send the gateway key in x-hopgate-api-key or x-litellm-api-key, and the server's own token in Authorization"}
}

// notHere is about endpoints of several servers: one Authorization can't be meant for all of them (RFC 9700 section 4.10).
func notHere(server string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Unsupported, Server: server,
		Message: "the server " + server + " wants the caller's own Authorization, which is passed on at its own endpoint only",
		Hint:    "call it at /" + server + "/mcp"}
}

// nothingToExchange fails closed: whoever came with a key brought no identity that the authorization server knows.
func nothingToExchange(server string) error {
	return &fault.Error{Hop: fault.AuthServer, Phase: fault.Exchange, Kind: fault.Unauthenticated, Status: http.StatusForbidden,
		Code: fault.CodeUnauthenticated, Server: server,
		Message: "the server " + server + " is called on behalf of a person, by exchanging the caller's JWT, and the caller came without one that is still valid",
		Hint:    "call with a token of a configured identity provider instead of a gateway key"}
}

func twoMatches(server string, c *table.ClientHeader) error {
	return malformed(server, "the headers "+strings.ToLower(c.Keys[0])+" and "+strings.ToLower(c.Keys[1])+" are the same one for the server "+server,
		"send one of them")
}

func twice(server, header string) error {
	return malformed(server, "the header "+strings.ToLower(header)+" was sent more than once", "send it once; a proxy may add it a second time")
}

func unfit(server, header string) error {
	return malformed(server, "the value of the header "+strings.ToLower(header)+" can't be passed on", "send at most 16 KiB without control characters")
}

func malformed(server, message, hint string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Server: server, Message: message, Hint: hint}
}
