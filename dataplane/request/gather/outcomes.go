package gather

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// The closed words for what came of one server's part.
const (
	OK            = "ok"
	Unreachable   = "unreachable"   // it, or the way to it, is down
	Unauthorized  = "unauthorized"  // it wants a credential, or another one
	NeedsReauth   = "needs_reauth"  // somebody has to sign in again
	Timeout       = "timeout"       // it took too long
	Misconfigured = "misconfigured" // it can't work as it is configured here, or doesn't speak MCP
	CircuitOpen   = "circuit_open"  // it isn't asked for a while, since it kept failing
)

// StatusOf returns the word for an error.
func StatusOf(err error) string {
	f := fault.As(err)
	switch {
	case err == nil, f != nil:
		return status(f)
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Unreachable
}

// status returns the word for a fault; nil is OK.
func status(f *fault.Error) string {
	if f == nil {
		return OK
	}
	switch f.Kind {
	case fault.CircuitOpen:
		return CircuitOpen
	case fault.TimedOut:
		return Timeout
	case fault.NeedsReauth:
		return NeedsReauth
	case fault.Unavailable, fault.Exhausted:
		return Unreachable
	case fault.CredentialLeak, fault.Unsupported:
		return Misconfigured
	}
	switch f.Hop {
	case fault.Upstream, fault.Relay:
		return far(f)
	case fault.AuthServer:
		if f.Kind == fault.Unreachable || f.Kind == fault.Refused || f.Kind == fault.Reset {
			return Unreachable
		}
	case fault.Client:
		if f.Kind == fault.Unauthenticated || f.Kind == fault.Denied {
			return Unauthorized
		}
	}
	return Misconfigured
}

// far is the word for a fault on the way to a server, or of the server.
func far(f *fault.Error) string {
	switch f.Phase {
	case fault.DNS, fault.Connect, fault.TLS:
		return Unreachable
	case fault.Intermediary, fault.Protocol, fault.Config, fault.Policy, fault.Route:
		return Misconfigured
	}
	if f.Kind == fault.Unauthenticated || f.Kind == fault.Denied {
		return Unauthorized
	}
	return Unreachable
}

// maxNamed is how many servers are named in an answer.
const maxNamed = 256

// AppendOutcomes appends a JSON object with a member per server, in the order of the outcomes: {"status": word}, and for others than OK the
// fault's words as "error", and as "cause" those of the failure that led to circuit_open. Of more than 256 servers those that failed are named
// first; the others are counted in a member "*", which can't be a server's name. What was left out of a part is its "warning".
func AppendOutcomes(dst []byte, list []Outcome) []byte {
	failed, left := 0, 0
	for i := range list {
		if list[i].Status != OK {
			failed++
		}
	}
	failed = min(failed, maxNamed)
	fine := maxNamed - failed
	dst = append(dst, '{')
	for i := range list {
		budget := &failed
		if list[i].Status == OK {
			budget = &fine
		}
		if *budget == 0 {
			left++
			continue
		}
		*budget--
		dst = appendOutcome(dst, &list[i])
		dst = append(dst, ',')
	}
	if left > 0 {
		dst = append(dst, `"*":{"count":`...)
		dst = strconv.AppendInt(dst, int64(left), 10)
		return append(dst, "}}"...)
	}
	return closed(dst)
}

func appendOutcome(dst []byte, o *Outcome) []byte {
	dst = message.AppendQuoted(dst, o.Server)
	dst = append(dst, `:{"status":`...)
	dst = message.AppendQuoted(dst, o.Status)
	if o.Err != nil {
		short := *o.Err
		short.Server = "" // stands in front
		dst = append(dst, `,"error":`...)
		dst = message.AppendQuoted(dst, short.Header())
		if why := fault.As(o.Err.Err); why != nil && o.Err.Kind == fault.CircuitOpen {
			dst = append(dst, `,"cause":`...)
			dst = message.AppendQuoted(dst, why.Header())
		}
	}
	if o.Warning != "" {
		dst = append(dst, `,"warning":`...)
		dst = message.AppendQuoted(dst, o.Warning)
	}
	return append(dst, '}')
}

// warned returns the outcomes with a warning for each part of which something was left out, for who may see all of it; the page keeps its own.
func (p *Page) warned() []Outcome {
	list, copied := p.Outcomes, false
	if p.Scope.Toolset != nil {
		return list
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		l := part.List
		if l == nil || l.Nameless+l.Twice == 0 || !part.Member.Access.Free() {
			continue
		}
		for j := range list {
			if list[j].Server != part.Member.Server.Name {
				continue
			}
			if !copied {
				list, copied = slices.Clone(list), true
			}
			list[j].Warning = warning(l)
		}
	}
	return list
}

// warning says what the server lists in vain.
func warning(l *catalogue.List) string {
	var why []string
	if l.Nameless > 0 {
		why = append(why, strconv.Itoa(l.Nameless)+" without a name that it could be called by")
	}
	if l.Twice > 0 {
		why = append(why, strconv.Itoa(l.Twice)+" with the name of another")
	}
	return "the server lists items that are left out: " + strings.Join(why, ", ")
}

// closed ends an object whose members all have a comma behind them.
func closed(dst []byte) []byte {
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '}')
}

// appendMeta appends the members of _meta that tell outcomes: under our name, and under that of LiteLLM's gateway.
func appendMeta(dst []byte, list []Outcome) []byte {
	dst = append(dst, `"hopgate.dev/outcomes":`...)
	start := len(dst)
	dst = AppendOutcomes(dst, list)
	end := len(dst)
	dst = append(dst, `,"litellm.ai/server_outcomes":`...)
	return append(dst, dst[start:end]...)
}

// allOK reports whether nothing is missing.
func allOK(list []Outcome) bool {
	for i := range list {
		if list[i].Status != OK {
			return false
		}
	}
	return true
}
