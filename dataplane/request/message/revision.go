package message

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/proto/fault"
)

// The MCP revisions.
const (
	Rev20241105 = "2024-11-05"
	Rev20250326 = "2025-03-26"
	Rev20250618 = "2025-06-18"
	Rev20251125 = "2025-11-25"
	Rev20260728 = "2026-07-28"

	// rev20241007 is a pre-release that the TypeScript SDK still accepts in the version header; it is never offered.
	rev20241007 = "2024-10-07"
)

// Era is the family of revisions: with the initialize handshake, or with metadata on each request.
type Era uint8

// The eras.
const (
	Legacy Era = iota // up to 2025-11-25
	Modern            // 2026-07-28
)

// String returns "legacy" or "modern".
func (e Era) String() string {
	if e == Modern {
		return "modern"
	}
	return "legacy"
}

// LegacyRevisions returns the released revisions with a handshake, newest first. The caller owns the slice.
func LegacyRevisions() []string { return []string{Rev20251125, Rev20250618, Rev20250326, Rev20241105} }

// ModernRevisions returns the revisions without a handshake, newest first. The caller owns the slice.
func ModernRevisions() []string { return []string{Rev20260728} }

// Known reports whether rev is a released revision.
func Known(rev string) bool { return rev == Rev20260728 || legacy(rev) && rev != rev20241007 }

func legacy(rev string) bool {
	switch rev {
	case Rev20251125, Rev20250618, Rev20250326, Rev20241105, rev20241007:
		return true
	}
	return false
}

// The headers of MCP over HTTP, in net/http's canonical form.
const (
	headerProtocol = "Mcp-Protocol-Version"
	headerMethod   = "Mcp-Method"
	headerName     = "Mcp-Name"
	headerSession  = "Mcp-Session-Id"
	paramPrefix    = "Mcp-Param-"
)

// EraOf decides which era a message belongs to, as a server of both eras on one URL does (2026-07-28, era detection): a body whose _meta names
// a revision is modern; initialize, or a session id in the headers, is legacy; else the version header decides. A version that nobody knows
// counts as modern when it isn't older than 2026-07-28, since only modern clients can learn from the answer. h has canonical keys. For a
// request without a body pass an empty Envelope.
func EraOf(h http.Header, body []byte, e *Envelope) Era {
	switch {
	case e.Protocol.Present():
		return Modern
	case string(inner(e.Method, body)) == "initialize", len(h[headerSession]) > 0 && h[headerSession][0] != "":
		return Legacy
	}
	v := h[headerProtocol]
	if len(v) == 0 {
		return Legacy
	}
	if rev := trim(v[0]); rev >= Rev20260728 && !legacy(rev) {
		return Modern
	}
	return Legacy
}

// CheckRevision checks the version header of a request without a message (GET, DELETE), or of a legacy one: absent is fine (a legacy server
// then assumes 2025-03-26), a revision that isn't of this era is answered with 400. Modern requests get -32022, legacy ones -32600.
func CheckRevision(h http.Header, era Era) error {
	v := h[headerProtocol]
	if len(v) == 0 || len(v) == 1 && v[0] == "" {
		return nil
	}
	rev := trim(v[0])
	switch {
	case len(v) > 1:
		return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidRequest, Status: http.StatusBadRequest,
			Message: "the MCP-Protocol-Version header was sent more than once"}
	case era == Legacy && !legacy(rev):
		return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Code: fault.CodeInvalidRequest, Status: http.StatusBadRequest,
			Message: "Unsupported protocol version in the MCP-Protocol-Version header",
			Hint:    "supported with sessions or without _meta: " + strings.Join(LegacyRevisions(), ", ")}
	case era == Modern && !slices.Contains(ModernRevisions(), rev):
		return unsupported(ModernRevisions(), rev)
	}
	return nil
}
