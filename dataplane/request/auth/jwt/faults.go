package jwt

import (
	"errors"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// errForeign marks refusals of tokens that weren't meant for this gateway.
var errForeign = errors.New("jwt: not a token for this gateway")

// IsForeign reports whether an error of Verify says that the token is none of this gateway's issuers for its audience. Beside another
// credential such a token may be for somebody else.
func IsForeign(err error) bool { return errors.Is(err, errForeign) }

// refuse is a token that isn't believed.
func refuse(k fault.Kind, message, hint string, cause error) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: k, Status: http.StatusUnauthorized, Code: fault.CodeUnauthenticated,
		Message: message, Hint: hint, Err: cause}
}

func unsound(what string, cause error) error {
	return refuse(fault.Unauthenticated, "the token isn't one the gateway believes: "+what, "get a new token from the identity provider", cause)
}

func misconfigured(what, hint string) error {
	return refuse(fault.Unauthenticated, "the token isn't one the gateway believes: "+what, hint, nil)
}

func foreign(what, hint string) error {
	return refuse(fault.Unauthenticated, what, hint, errForeign)
}

// unavailable is an issuer without keys.
func unavailable(cause error, after time.Duration) error {
	message := "the keys of the token's issuer can't be fetched, so the token can't be checked"
	if f := fault.As(cause); f != nil {
		message += ": " + f.Message
	}
	return &fault.Error{Hop: fault.AuthServer, Phase: fault.Metadata, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Err: cause,
		Message: message, Hint: "try again later; the operator finds the cause in the gateway's log", RetryAfter: max(after, time.Second)}
}
