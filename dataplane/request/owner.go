package request

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

// owned carries a request that is about one of several servers to that one. From here on it is an ordinary call to it.
func (h *Handler) owned(x *exchange) error {
	m, err := h.owner(x)
	if err != nil {
		return err
	}
	if err := h.direct(x, &m); err != nil {
		return err
	}
	return h.forward(x)
}

// owner finds whom the request is about, and rewrites it into the server's own names.
func (h *Handler) owner(x *exchange) (m route.Member, err error) {
	switch x.rec.Method {
	case "tools/call":
		return h.ownerOfTool(x)
	case "prompts/get":
		shown := x.env.NameString(x.body)
		m, name, ok := x.scope.Prompt(shown, h.names(x, catalogue.Prompts))
		if !ok {
			return m, unknownName("prompt", shown)
		}
		return m, x.rewrite(message.Rename(x.spare(), x.body, &x.env, name), name)
	case "completion/complete":
		return h.ownerOfRef(x)
	}
	m, uri, ok := x.scope.Resource(x.env.URIString(x.body))
	if !ok {
		return m, x.unknownResource()
	}
	return m, x.rewrite(message.Readdress(x.spare(), x.body, &x.env, uri), uri)
}

func (h *Handler) ownerOfTool(x *exchange) (m route.Member, err error) {
	shown := x.env.NameString(x.body)
	m, tool, ok := x.scope.Tool(shown, h.names(x, catalogue.Tools))
	if !ok {
		return m, unknownName("tool", shown)
	}
	if tool == shown {
		return m, nil
	}
	return m, x.rewrite(message.Rename(x.spare(), x.body, &x.env, tool), tool)
}

// ownerOfRef finds whose prompt or resource template is being completed.
func (h *Handler) ownerOfRef(x *exchange) (m route.Member, err error) {
	if shown := x.env.RefNameString(x.body); shown != "" {
		m, name, ok := x.scope.Prompt(shown, h.names(x, catalogue.Prompts))
		if !ok {
			return m, unknownName("prompt", shown)
		}
		return m, x.rewrite(message.ReplaceRef(x.spare(), x.body, &x.env, name), "")
	}
	m, uri, ok := x.scope.Resource(x.env.RefURIString(x.body))
	if !ok {
		return m, x.unknownResource()
	}
	return m, x.rewrite(message.ReplaceRef(x.spare(), x.body, &x.env, uri), "")
}

// direct makes the request one to a member.
func (h *Handler) direct(x *exchange, m *route.Member) error {
	if m.Server.Target == nil {
		return noEndpoint(m.Server, h.cfg.Region)
	}
	x.server, x.access = m.Server, m.Access
	x.aim()
	if x.era == message.Modern {
		return nil
	}
	u, live := upstreamOf(&x.many, m.Server.Name)
	switch {
	case live:
		x.call.Session, x.call.Instance, x.call.Revision = u.ID, u.Instance, u.Revision
	case m.Server.NeedsSession && x.rec.Session != "":
		return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.NotFound, Status: http.StatusNotFound, Code: fault.CodeSession,
			Server:  m.Server.Name,
			Message: "Session not found: it began without the server " + m.Server.Name + ", which keeps state in sessions",
			Hint:    "initialize again"}
	default:
		x.alone, x.call.Revision = true, ""
		x.call.Capabilities, x.call.ClientInfo = x.many.Capabilities, x.many.ClientInfo
	}
	return nil
}

func unknownName(what, name string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusOK, Code: fault.CodeInvalidParams,
		Message: "Unknown " + what + ": " + shown(name), Hint: "use a name that " + what + "s/list shows on this endpoint"}
}

func (x *exchange) unknownResource() error {
	code := fault.CodeResource
	if x.era == message.Modern {
		code = fault.CodeInvalidParams
	}
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusOK, Code: code,
		Message: "Resource not found on this endpoint", Hint: "use a URI that resources/list or resources/templates/list shows here"}
}

// wrap gives a URI of the owner the form it has on this endpoint.
func (x *exchange) wrap(uri string) string { return names.WrapURI(x.server.Name, uri) }
