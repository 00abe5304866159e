package hop

import (
	"net/http"

	"github.com/hopgate/hopgate/proto/fault"
)

// attachable refuses a credential that can't be sent as it is: leaving a part of it out would send the call as somebody else. The stages
// before let none through; one that comes here is a defect.
func (c *Call) attachable() error {
	for i := range c.Credential {
		if f := &c.Credential[i]; f.Value == "" || !clean(f.Value) || !word(f.Name) || ours(f.Name) || c.again(i) {
			return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Status: http.StatusInternalServerError, Server: c.Server.Name,
				Message: "the gateway made a header that it can't send", Hint: "this is a defect of the gateway: report it with the trace id"}
		}
	}
	return nil
}

// again reports whether the name of field i stands before it already.
func (c *Call) again(i int) bool {
	for j := range i {
		if c.Credential[j].Name == c.Credential[i].Name {
			return true
		}
	}
	return false
}

// ours reports whether a canonical name is one that appendFields or the framing writes.
func ours(name string) bool {
	switch name {
	case "Accept", "Connection", "Content-Length", "Content-Type", "Host", "Last-Event-Id", "Traceparent", "Tracestate", "Transfer-Encoding", "User-Agent":
		return true
	}
	return len(name) >= 4 && name[:4] == "Mcp-"
}

// word reports whether s is a token (RFC 9110 section 5.6.2), as far as framing goes: visible ASCII without delimiters that end a name.
func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return s != ""
}
