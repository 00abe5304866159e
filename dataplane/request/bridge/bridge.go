// Package bridge decides how a request gets from the era its caller speaks to the era its server speaks.
//
// Between eras a request is refused today, with -32022 and the revisions that would do (2026-07-28, versioning; SEP-2575). Path is where
// translation will stand: a path other than Same names the dialect that turns requests of one era into those of the other and the answers
// back, and its translator belongs into this package. Callers switch on the path and send nothing on one they don't know.
//
// It promises that the same facts give the same decision, that a request whose era the server may speak passes unchanged, and that the two
// probes, server/discover and initialize, always pass: clients find out by them, and a verdict that was wrong heals. It refuses to guess: what
// isn't known about a server counts as spoken.
package bridge

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Path is how a request travels between the eras of its caller and of its server.
type Path uint8

// Same is the path of a request whose era the server speaks, or may speak: every byte stays.
const Same Path = iota

// Known is what the answers of a server have shown lately. A zero Known knows nothing.
type Known struct {
	NotModern bool // it refused server/discover: it doesn't speak 2026-07-28
	NotLegacy bool // it refused initialize: it doesn't speak a revision with a handshake
}

// Ask is one request of an era.
type Ask struct {
	Caller    message.Era
	Method    string // of MCP
	Requested string // revision as the caller named it, told in the refusal
}

// Between returns how a request gets to a server, or the refusal: a *fault.Error of kind unsupported, status 400, code -32022.
func Between(a Ask, s *table.Server, known Known) (Path, error) {
	if a.Method == "server/discover" || a.Method == "initialize" {
		return Same, nil
	}
	auto := s.Protocol == "auto"
	if a.Caller == message.Modern && (s.Protocol == "legacy" || auto && known.NotModern) {
		return Same, refusal(s.Name, message.LegacyRevisions(), a.Requested)
	}
	if a.Caller == message.Legacy && (s.Protocol == "modern" || auto && known.NotLegacy) {
		return Same, refusal(s.Name, message.ModernRevisions(), a.Requested)
	}
	return Same, nil
}

func refusal(server string, supported []string, requested string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Server: server,
		Status: http.StatusBadRequest, Code: fault.CodeVersion, Data: message.VersionData(supported, requested),
		Message: "the server " + server + " speaks another era of MCP than this request",
		Hint:    "let the client fall back to a supported revision; the gateway doesn't bridge eras for this server"}
}
