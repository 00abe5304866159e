package credential

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/proto/fault"
)

// Lifetimes of tokens.
const (
	defaultLife = 5 * time.Minute // when expires_in isn't said
	mostLife    = 24 * time.Hour
	mostMargin  = time.Minute // before its end a token is replaced
)

// grant is a token endpoint's answer (RFC 6749 sections 5.1 and 5.2, RFC 8693 section 2.2). error_description and error_uri aren't read.
type grant struct {
	AccessToken string          `json:"access_token"`
	TokenType   string          `json:"token_type"`
	IssuedType  string          `json:"issued_token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       string          `json:"error"`
}

// read judges an answer and makes the token.
func (o *order) read(a *egress.Answer, at time.Time) (*token, *fault.Error) {
	var g grant
	if err := json.Unmarshal(a.Body, &g); a.Status != http.StatusOK {
		if err != nil {
			g.Error = ""
		}
		return nil, o.refused(a.Status, g.Error)
	} else if err != nil {
		return nil, o.malformed("its answer isn't JSON as RFC 6749 wants it")
	}
	life, ok := lifetime(g.ExpiresIn)
	switch {
	case g.Error != "":
		return nil, o.refused(a.Status, g.Error)
	case !strings.EqualFold(g.TokenType, "bearer"):
		return nil, o.malformed("its token isn't of the type Bearer")
	case g.IssuedType != "" && g.IssuedType != typeAccessToken && g.IssuedType != typeJWT:
		return nil, o.malformed("what it issued isn't an access token")
	case !visible(g.AccessToken):
		return nil, o.malformed("its access_token is missing, too long or has other than visible ASCII characters")
	case !ok:
		return nil, o.malformed("its expires_in isn't a positive number of seconds")
	}
	if !o.end.IsZero() {
		life = min(life, o.end.Sub(at))
	}
	margin := min(mostMargin, life/5)
	end := at.Add(life)
	return &token{value: "Bearer " + g.AccessToken, fetched: at, renew: end.Add(-2 * margin), fresh: end.Add(-margin), end: end}, nil
}

// lifetime reads expires_in; some servers write the number as a string.
func lifetime(raw json.RawMessage) (time.Duration, bool) {
	s := strings.Trim(string(raw), `"`)
	if s == "" || s == "null" {
		return defaultLife, true
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(seconds > 0) { // NaN neither
		return 0, false
	}
	return time.Duration(min(seconds, mostLife.Seconds()) * float64(time.Second)), true
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= mostValue
}

// hints of the error codes that RFC 6749 section 5.2, RFC 8693 and RFC 8707 register for token endpoints, and those that servers borrow from
// section 4.1.2.1. No other word of an answer is ever told.
var hints = map[string]string{
	"invalid_client":          "check spec.auth.client_id, the client secret and spec.auth.client_auth of the server",
	"unauthorized_client":     "let the client use this grant type at the authorization server",
	"invalid_grant":           "the authorization server doesn't take the caller's token: check that it trusts the token's issuer and audience",
	"invalid_scope":           "check spec.auth.scopes of the server",
	"invalid_target":          "check spec.auth.resource and spec.auth.audience of the server",
	"invalid_request":         "the authorization server may not know the resource or audience parameter: see spec.auth.omit_resource and spec.auth.audience of the server",
	"unsupported_grant_type":  "the authorization server doesn't offer spec.auth.flow of the server, or spec.auth.token_url isn't its token endpoint",
	"access_denied":           "the authorization server's policy denies the client or the caller this token",
	"server_error":            "look at the authorization server's log",
	"temporarily_unavailable": "try again later; look at the authorization server's load",
}

// refused is an answer that brings no token.
func (o *order) refused(status int, code string) *fault.Error {
	hint, registered := hints[code]
	what := "the authorization server answered with status " + strconv.Itoa(status) + " instead of a token for the server " + o.server.Name
	if registered {
		what = "the authorization server refused a token for the server " + o.server.Name + ": " + code
	}
	f := &fault.Error{Hop: fault.AuthServer, Phase: o.phase(), Kind: fault.Malformed, Remote: true, Server: o.server.Name, Message: what, Hint: hint}
	switch {
	case code == "server_error" || code == "temporarily_unavailable":
		f.Kind = fault.Unavailable
	case registered:
		f.Kind = fault.Denied
	case status == http.StatusTooManyRequests:
		f.Kind, f.Hint = fault.Exhausted, "the authorization server limits how often it is asked: try again later"
	case status >= 500:
		f.Kind, f.Hint = fault.Unavailable, "look at the authorization server's log, and at what stands in front of it"
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Kind, f.Hint = fault.Denied, "check spec.auth.client_id and the client secret of the server"
	case status/100 == 3:
		f.Remote, f.Hint = false, "set spec.auth.token_url to the final URL: redirects aren't followed, since they would carry the client secret elsewhere"
	default:
		f.Remote, f.Hint = false, "check that spec.auth.token_url is a token endpoint"
	}
	return f
}

func (o *order) malformed(why string) *fault.Error {
	return &fault.Error{Hop: fault.AuthServer, Phase: o.phase(), Kind: fault.Malformed, Server: o.server.Name,
		Message: "the authorization server gave no usable token for the server " + o.server.Name + ": " + why,
		Hint:    "check spec.auth.token_url of the server, and what is issued there"}
}

// failed names the server in a fault of the way to the token endpoint.
func (o *order) failed(err error) *fault.Error {
	if f := fault.As(err); f != nil {
		c := *f
		c.Server = o.server.Name
		return &c
	}
	f := &fault.Error{Hop: fault.AuthServer, Phase: o.phase(), Kind: fault.Unavailable, Server: o.server.Name, Err: err,
		Message: "the authorization server couldn't be asked for a token for the server " + o.server.Name, Hint: "look at the authorization server and the way to it"}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Kind = fault.TimedOut
	}
	return f
}
