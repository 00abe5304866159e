package fault

import (
	"net/http"
	"strconv"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// JSON-RPC codes. The implementation-defined range is -32000 to -32019 (MCP 2026-07-28 keeps -32020 to -32099 for itself); we stay away
// from -32002 to -32004, which older revisions and pre-release builds used with other meanings.
const (
	CodeParse           = -32700
	CodeInvalidRequest  = -32600
	CodeMethodNotFound  = -32601
	CodeInvalidParams   = -32602
	CodeInternal        = -32603
	CodeUpstream        = -32000 // the way to the upstream, or the upstream itself, failed
	CodeSession         = -32001 // session not found: what every SDK sends with 404
	CodeResource        = -32002 // resource not found (MCP up to 2025-11-25)
	CodeUnauthenticated = -32010
	CodeDenied          = -32011
	CodeNotFound        = -32012
	CodeTooLarge        = -32013
	CodeTimedOut        = -32014
	CodeExhausted       = -32015
	CodeUnavailable     = -32016
	CodeHeaderMismatch  = -32020 // MCP 2026-07-28
	CodeCapability      = -32021 // MCP 2026-07-28
	CodeVersion         = -32022 // MCP 2026-07-28
)

// HTTPStatus returns the status a caller sees: 4xx when the caller can mend it, 502 to 504 when another hop failed.
func (e *Error) HTTPStatus() int {
	switch {
	case e.Status != 0:
		return e.Status
	case e.Phase == Session: // whatever is wrong with a session id, 404 makes a client begin anew
		return http.StatusNotFound
	}
	if e.Hop == Upstream || e.Hop == Relay || e.Hop == AuthServer || e.Hop == Model {
		return e.farStatus()
	}
	switch e.Kind {
	case Malformed, Mismatch, Unsupported:
		return http.StatusBadRequest
	case Unauthenticated, NeedsReauth:
		return http.StatusUnauthorized
	case Denied, CredentialLeak:
		return http.StatusForbidden
	case NotFound, Expired:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Exhausted:
		return http.StatusTooManyRequests
	case Unavailable, CircuitOpen, Refused, Unreachable:
		return http.StatusServiceUnavailable
	case TimedOut:
		if e.Hop == Client {
			return http.StatusRequestTimeout
		}
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func (e *Error) farStatus() int {
	switch {
	case e.Kind == NeedsReauth:
		return http.StatusUnauthorized
	case e.Kind == CredentialLeak: // we stopped it before it left
		return http.StatusForbidden
	case e.Phase == Intermediary:
		return http.StatusBadGateway
	case e.Kind == TimedOut:
		return http.StatusGatewayTimeout
	case e.Kind == Exhausted:
		return http.StatusTooManyRequests
	case e.Kind == CircuitOpen, e.Kind == Unavailable && !e.Remote:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// JSONRPCCode returns the JSON-RPC error code.
func (e *Error) JSONRPCCode() int {
	switch {
	case e.Code != 0:
		return e.Code
	case e.Phase == Session:
		return CodeSession
	case e.Kind == TimedOut:
		return CodeTimedOut
	case e.Kind == TooLarge:
		return CodeTooLarge
	case e.Kind == NeedsReauth:
		return CodeUnauthenticated
	case e.Kind == CredentialLeak:
		return CodeDenied
	case e.Hop == Upstream || e.Hop == Relay || e.Hop == AuthServer || e.Hop == Model:
		return CodeUpstream
	}
	switch e.Kind {
	case Malformed, Mismatch, Unsupported:
		return CodeInvalidRequest
	case Unauthenticated:
		return CodeUnauthenticated
	case Denied:
		return CodeDenied
	case NotFound, Expired:
		return CodeNotFound
	case Exhausted:
		return CodeExhausted
	case Unavailable, CircuitOpen:
		return CodeUnavailable
	}
	return CodeInternal
}

// Header returns the value of x-hopgate-error, for example "hop=upstream; phase=connect; kind=refused; server=everything". It is printable
// ASCII whatever the fault holds.
func (e *Error) Header() string {
	b := make([]byte, 0, 96)
	b = append(b, "hop="...)
	b = append(b, e.Hop.String()...)
	b = append(b, "; phase="...)
	b = append(b, e.Phase.String()...)
	b = append(b, "; kind="...)
	b = append(b, e.Kind.String()...)
	if e.Remote {
		b = append(b, "; remote=true"...)
	}
	if e.UpstreamStatus != 0 {
		b = append(b, "; upstream_status="...)
		b = strconv.AppendInt(b, int64(e.UpstreamStatus), 10)
	}
	if e.Server != "" {
		b = append(b, "; server="...)
		b = appendToken(b, e.Server)
	}
	return string(b)
}

// appendToken appends what of s may stand in a header parameter; names that passed the rules pass unchanged.
func appendToken(b []byte, s string) []byte {
	const most = 64
	for i := range min(len(s), most) {
		c := s[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '.' {
				c = '_'
			}
		}
		b = append(b, c)
	}
	return b
}

// Place is what only the answering process knows about a fault: where it stood and which trace tells more.
type Place struct {
	Region  string
	TraceID string
}

// AppendJSONRPC appends the JSON-RPC error response to dst. id is the raw JSON of the request's id; empty means null.
func (e *Error) AppendJSONRPC(dst, id []byte, at Place) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	if len(id) == 0 {
		id = []byte("null")
	}
	dst = append(dst, id...)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.JSONRPCCode()), 10)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"data":{`...)
	if e.Data != "" {
		dst = append(dst, e.Data...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"hop":"`...)
	dst = append(dst, e.Hop.String()...)
	dst = append(dst, `","phase":"`...)
	dst = append(dst, e.Phase.String()...)
	dst = append(dst, `","kind":"`...)
	dst = append(dst, e.Kind.String()...)
	dst = append(dst, `","remote":`...)
	dst = strconv.AppendBool(dst, e.Remote)
	for _, m := range [...]struct{ k, v string }{{"server", e.Server}, {"region", at.Region}, {"hint", e.Hint}, {"trace_id", at.TraceID}, {"doc", e.Doc()}} {
		if m.v == "" {
			continue
		}
		dst = append(dst, `,"`...)
		dst = append(dst, m.k...)
		dst = append(dst, `":`...)
		dst = appendString(dst, m.v)
	}
	if e.UpstreamStatus != 0 {
		dst = append(dst, `,"upstream_status":`...)
		dst = strconv.AppendInt(dst, int64(e.UpstreamStatus), 10)
	}
	return append(dst, "}}}"...)
}

// GRPCStatus makes the fault a gRPC error with a hopgate.fault.v1.Fault detail.
func (e *Error) GRPCStatus() *status.Status {
	s := status.New(e.grpcCode(), valid(e.Message))
	if d, err := s.WithDetails(e.Proto()); err == nil {
		return d
	}
	return s
}

func (e *Error) grpcCode() codes.Code {
	switch e.Kind {
	case Malformed, Mismatch, TooLarge:
		return codes.InvalidArgument
	case Unauthenticated, NeedsReauth:
		return codes.Unauthenticated
	case Denied, CredentialLeak:
		return codes.PermissionDenied
	case NotFound, Expired:
		return codes.NotFound
	case Conflict:
		return codes.Aborted
	case Exhausted:
		return codes.ResourceExhausted
	case TimedOut:
		return codes.DeadlineExceeded
	case Unsupported:
		return codes.Unimplemented
	case Internal:
		return codes.Internal
	}
	return codes.Unavailable
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259): control characters are escaped, what is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
