package request

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// A session of several servers may hold none of one of them: that was down when it began, or has lost its session since. Such a server is asked in
// a session of its own for each call, unless its config says that it keeps state in sessions: then the caller begins anew.

// apart makes the call one in a session of its own.
func (x *exchange) apart() {
	x.alone, x.call.Session, x.call.Instance, x.call.Revision = true, "", 0, ""
	x.call.Capabilities, x.call.ClientInfo = x.many.Capabilities, x.many.ClientInfo
}

// lost reports whether a server's answer to what was sent in the caller's session is that this session is gone (MCP 2025-03-26, transports: 404),
// and whether another one will do. Nothing has been done for a request that is answered so.
func (x *exchange) lost(status int) bool {
	return status == http.StatusNotFound && x.several && x.call.Session != "" && !x.alone && !x.server.NeedsSession && x.rec.Method != "resources/subscribe"
}

// anew makes a call again in a session of its own. An answer to what the server had asked in the lost one is for nobody any more.
func (h *Handler) anew(x *exchange) error {
	if x.env.Kind != message.Request {
		return x.accepted()
	}
	x.apart()
	return h.oneShot(x)
}

// noSession refuses what makes sense within a session only.
func noSession(why string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.Malformed, Status: http.StatusBadRequest, Code: fault.CodeSession,
		Message: "Bad Request: no session was named, and " + why, Hint: "initialize first, and send the Mcp-Session-Id that it gave"}
}

// cancellable notes that a call of several servers' caller runs in a session of its own, until the returned function is called.
func (h *Handler) cancellable(x *exchange) (done func()) {
	if !x.alone || !x.several {
		return func() {}
	}
	return h.several.Runs(x.principal.ID, x.rec.Session, x.id(),
		&session.Upstream{Server: x.server.Name, Instance: x.call.Instance, ID: x.call.Session, Revision: x.call.Revision})
}
