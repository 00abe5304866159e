// Package fault is the closed vocabulary in which both planes tell a failure: which hop, in which phase, of what kind.
//
// It promises that one *Error has one meaning on every face (HTTP status, JSON-RPC error, x-hopgate-error header, gRPC status, log
// line, span and metric) and that nothing in Message, Hint or Server is a secret or another server's address.
// It refuses to render the cause: Err is for logs and spans of this process only.
package fault

import (
	"errors"
	"strings"
	"time"

	faultv1 "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
)

// Hop, Phase and Kind are the wire enums; their String methods give the short lower-case words operators read ("upstream").
type (
	// Hop is the leg of the journey.
	Hop faultv1.Hop
	// Phase is the step of that leg.
	Phase faultv1.Phase
	// Kind is what happened.
	Kind faultv1.Kind
)

// The hops.
const (
	Client     = Hop(faultv1.Hop_HOP_CLIENT)
	Gateway    = Hop(faultv1.Hop_HOP_GATEWAY)
	Control    = Hop(faultv1.Hop_HOP_CONTROL)
	AuthServer = Hop(faultv1.Hop_HOP_AUTHSERVER)
	Relay      = Hop(faultv1.Hop_HOP_RELAY)
	Upstream   = Hop(faultv1.Hop_HOP_UPSTREAM)
	Model      = Hop(faultv1.Hop_HOP_MODEL)
)

// The phases.
const (
	Request      = Phase(faultv1.Phase_PHASE_REQUEST)
	Auth         = Phase(faultv1.Phase_PHASE_AUTH)
	Grant        = Phase(faultv1.Phase_PHASE_GRANT)
	Policy       = Phase(faultv1.Phase_PHASE_POLICY)
	Limit        = Phase(faultv1.Phase_PHASE_LIMIT)
	Route        = Phase(faultv1.Phase_PHASE_ROUTE)
	Session      = Phase(faultv1.Phase_PHASE_SESSION)
	Config       = Phase(faultv1.Phase_PHASE_CONFIG)
	Metadata     = Phase(faultv1.Phase_PHASE_METADATA)
	Token        = Phase(faultv1.Phase_PHASE_TOKEN)
	Exchange     = Phase(faultv1.Phase_PHASE_EXCHANGE)
	DNS          = Phase(faultv1.Phase_PHASE_DNS)
	Connect      = Phase(faultv1.Phase_PHASE_CONNECT)
	TLS          = Phase(faultv1.Phase_PHASE_TLS)
	Intermediary = Phase(faultv1.Phase_PHASE_INTERMEDIARY)
	Headers      = Phase(faultv1.Phase_PHASE_HEADERS)
	Protocol     = Phase(faultv1.Phase_PHASE_PROTOCOL)
	Body         = Phase(faultv1.Phase_PHASE_BODY)
	Stream       = Phase(faultv1.Phase_PHASE_STREAM)
)

// The kinds.
const (
	Unreachable     = Kind(faultv1.Kind_KIND_UNREACHABLE)
	Refused         = Kind(faultv1.Kind_KIND_REFUSED)
	TimedOut        = Kind(faultv1.Kind_KIND_TIMED_OUT)
	Reset           = Kind(faultv1.Kind_KIND_RESET)
	Malformed       = Kind(faultv1.Kind_KIND_MALFORMED)
	TooLarge        = Kind(faultv1.Kind_KIND_TOO_LARGE)
	Denied          = Kind(faultv1.Kind_KIND_DENIED)
	Unauthenticated = Kind(faultv1.Kind_KIND_UNAUTHENTICATED)
	NotFound        = Kind(faultv1.Kind_KIND_NOT_FOUND)
	Conflict        = Kind(faultv1.Kind_KIND_CONFLICT)
	Exhausted       = Kind(faultv1.Kind_KIND_EXHAUSTED)
	Unavailable     = Kind(faultv1.Kind_KIND_UNAVAILABLE)
	Expired         = Kind(faultv1.Kind_KIND_EXPIRED)
	Mismatch        = Kind(faultv1.Kind_KIND_MISMATCH)
	CredentialLeak  = Kind(faultv1.Kind_KIND_CREDENTIAL_LEAK)
	NeedsReauth     = Kind(faultv1.Kind_KIND_NEEDS_REAUTH)
	CircuitOpen     = Kind(faultv1.Kind_KIND_CIRCUIT_OPEN)
	Unsupported     = Kind(faultv1.Kind_KIND_UNSUPPORTED)
	Internal        = Kind(faultv1.Kind_KIND_INTERNAL)
)

var (
	hopWords   = words(faultv1.Hop_name, "HOP_")
	phaseWords = words(faultv1.Phase_name, "PHASE_")
	kindWords  = words(faultv1.Kind_name, "KIND_")
)

func words(names map[int32]string, prefix string) []string {
	out := make([]string, len(names))
	for n, s := range names {
		out[n] = strings.ToLower(strings.TrimPrefix(s, prefix))
	}
	return out
}

func word(w []string, n int32) string {
	if n < 0 || int(n) >= len(w) {
		return "unknown"
	}
	return w[n]
}

// String returns the hop's word, for example "upstream".
func (h Hop) String() string { return word(hopWords, int32(h)) }

// String returns the phase's word, for example "connect".
func (p Phase) String() string { return word(phaseWords, int32(p)) }

// String returns the kind's word, for example "refused".
func (k Kind) String() string { return word(kindWords, int32(k)) }

// Error is one failure. The zero value is not a valid fault; Hop, Phase and Kind are always set.
type Error struct {
	Hop    Hop
	Phase  Phase
	Kind   Kind
	Remote bool   // the peer said so; false means we concluded it
	Server string // configured name, never an address
	// Message is one sentence, safe and useful to the caller.
	Message string
	// Hint says what to do; may be empty.
	Hint string
	// UpstreamStatus is the HTTP status the upstream answered with, 0 when there was none.
	UpstreamStatus int
	// Code overrides the JSON-RPC code where an MCP revision fixes it (for example -32020); 0 takes the table's.
	Code int
	// Status overrides the HTTP status where an MCP revision fixes it; 0 takes the table's.
	Status int
	// RetryAfter is how long to wait before trying again; 0: not said.
	RetryAfter time.Duration
	// Data is an extra JSON member list for the JSON-RPC error's data, without braces, for example `"supported":["2025-11-25"]`; may be empty.
	Data string
	// Err is the cause: logs and spans only, never a client.
	Err error
}

// Error renders hop, phase, kind, message and cause for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Hop.String())
	b.WriteByte('/')
	b.WriteString(e.Phase.String())
	b.WriteByte('/')
	b.WriteString(e.Kind.String())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns the fault inside err, or nil.
func As(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// Proto returns the fault as the message that crosses wires; the cause stays behind. Its texts are UTF-8, as proto3 demands.
func (e *Error) Proto() *faultv1.Fault {
	return &faultv1.Fault{
		Hop: faultv1.Hop(e.Hop), Phase: faultv1.Phase(e.Phase), Kind: faultv1.Kind(e.Kind), Remote: e.Remote,
		Server: valid(e.Server), Message: valid(e.Message), Hint: valid(e.Hint), UpstreamStatus: int32(e.UpstreamStatus), Doc: e.Doc(),
	}
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Doc returns the handbook anchor of this failure, for example "faults#upstream-connect-refused".
func (e *Error) Doc() string {
	return "faults#" + strings.ReplaceAll(e.Hop.String()+"-"+e.Phase.String()+"-"+e.Kind.String(), "_", "-")
}
