package hop

import (
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Learn takes the answer to a relayed server/discover or initialize as evidence of the server's eras. Nothing is ever tried on a server to
// find out.
func (h *Hop) Learn(s *table.Server, method string, status int, answer []byte, now time.Time) {
	switch method {
	case "server/discover":
		if modern, ok := message.Discover(status, answer); ok {
			h.memory.note(s, now).modern.set(modern, now)
		}
	case "initialize":
		if legacy, ok := message.Initialized(status, answer); ok {
			h.memory.note(s, now).legacy.set(legacy, now)
		}
	}
}

// Mixed refuses a request of an era that the server is known not to speak: bridging between eras isn't offered. The two probes are always
// relayed, so that clients can find out and a verdict can heal.
func (h *Hop) Mixed(s *table.Server, era message.Era, method, requested string, now time.Time) error {
	if method == "server/discover" || method == "initialize" {
		return nil
	}
	f := h.memory.of(s)
	if era == message.Modern && (s.Protocol == "legacy" || s.Protocol == "auto" && f != nil && f.modern.against(now)) {
		return unsupported(s.Name, message.LegacyRevisions(), requested)
	}
	if era == message.Legacy && (s.Protocol == "modern" || s.Protocol == "auto" && f != nil && f.legacy.against(now)) {
		return unsupported(s.Name, message.ModernRevisions(), requested)
	}
	return nil
}

func unsupported(server string, supported []string, requested string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Server: server,
		Status: http.StatusBadRequest, Code: fault.CodeVersion, Data: message.VersionData(supported, requested),
		Message: "the server " + server + " speaks another era of MCP than this request",
		Hint:    "let the client fall back to a supported revision; the gateway doesn't bridge eras for this server"}
}
