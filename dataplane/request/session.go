package request

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// openSession opens the sealed session id the caller echoes. Revision 2026-07-28 has no sessions: the header is ignored there.
func (x *exchange) openSession() error {
	if x.several {
		return x.openMany()
	}
	token := x.in.Header.Get("Mcp-Session-Id")
	if token == "" || x.era == message.Modern {
		return nil
	}
	x.rec.Session = session.ShortHash(token)
	c, err := session.Open(x.table.Ring("session"), token, x.principal.ID, x.door.Canonical(), x.now)
	if err != nil {
		return x.named(err)
	}
	x.call.Session, x.call.Instance = c.Upstream, c.Instance
	return nil
}

// sealSession gives the caller the upstream's session id in sealed form.
func (x *exchange) sealSession(upstream string) error {
	instance := uint32(0) // of a server with one there is nothing to choose, and earlier versions open the token
	if len(x.server.Instances) > 1 {
		instance = x.call.Instance
	}
	token, err := session.Seal(x.table.Ring("session"), session.Claims{Server: x.server.Name, Upstream: upstream, Instance: instance, Principal: x.principal.ID,
		Endpoint: x.door.Canonical(), Issued: x.now, Expires: x.now.Add(session.Life)})
	if err != nil {
		return x.named(err)
	}
	x.rec.Session = session.ShortHash(token)
	x.reply.Sink.Header()["Mcp-Session-Id"] = []string{token}
	return nil
}

// openMany opens the sealed session id of an endpoint of several servers. Revision 2026-07-28 has no sessions.
func (x *exchange) openMany() (err error) {
	token := x.in.Header.Get("Mcp-Session-Id")
	if token == "" || x.era == message.Modern || x.rec.Method == "initialize" {
		return nil
	}
	x.rec.Session = session.ShortHash(token)
	x.many, err = session.OpenMany(x.table.Ring("session"), token, x.principal.ID, x.door.Canonical(), x.now)
	if x.rec.Revision == "" {
		x.rec.Revision = x.many.Revision
	}
	return err
}

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

// anew makes a call again in a session of its own, unless nothing is left of the caller's: then the client is to begin anew. An answer to what the
// server had asked in the lost one is for nobody any more.
func (h *Handler) anew(x *exchange) error {
	r, owner := x.asked(), x.server.Name
	if own, _ := x.many.Of(owner); own.ID == x.call.Session { // an answer may have been for a session of one call
		if err := h.several.Gone(x.ctx, &r, func(server string) bool { return server == owner }); err != nil {
			return err
		}
	}
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
