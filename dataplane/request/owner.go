package request

import (
	"iter"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/several"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

// owned carries a request that is about one of several servers to that one. From here on it is an ordinary call to it.
func (h *Handler) owned(x *exchange) error {
	came := h.original(x)
	m, err := h.owner(x)
	if err != nil {
		return err
	}
	if done, err := h.handOverOwned(x, &m, came); done {
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
		m, name, err := h.ownerOfPrompt(x, x.env.NameString(x.body))
		if err != nil {
			return m, err
		}
		return m, x.rewrite(message.Rename(x.spare(), x.body, &x.env, name), name)
	case "completion/complete":
		return h.ownerOfRef(x)
	}
	wrapped := x.env.URIString(x.body)
	if wrapped == "" {
		return m, x.noSubject("uri", "the URI of the resource")
	}
	m, uri, ok := x.scope.Resource(wrapped)
	if !ok {
		return m, x.unknownResource()
	}
	return m, x.rewrite(message.Readdress(x.spare(), x.body, &x.env, uri), uri)
}

func (h *Handler) ownerOfTool(x *exchange) (m route.Member, err error) {
	shown := x.env.NameString(x.body)
	if shown == "" {
		return m, x.noSubject("name", "the name of the tool")
	}
	m, tool, ok := x.scope.Tool(shown, h.paidNames(x, catalogue.Tools, &err))
	switch {
	case err != nil:
		return m, err
	case !ok:
		return m, unknownName("tool", shown)
	}
	if tool == shown {
		return m, nil
	}
	x.called = shown
	return m, x.rewrite(message.Rename(x.spare(), x.body, &x.env, tool), tool)
}

func (h *Handler) ownerOfPrompt(x *exchange, shown string) (m route.Member, prompt string, err error) {
	if shown == "" {
		return m, "", x.noSubject("name", "the name of the prompt")
	}
	m, prompt, ok := x.scope.Prompt(shown, h.paidNames(x, catalogue.Prompts, &err))
	if err == nil && !ok {
		err = unknownName("prompt", shown)
	}
	return m, prompt, err
}

// ownerOfRef finds whose prompt or resource template is being completed.
func (h *Handler) ownerOfRef(x *exchange) (m route.Member, err error) {
	if shown := x.env.RefNameString(x.body); shown != "" {
		m, name, err := h.ownerOfPrompt(x, shown)
		if err != nil {
			return m, err
		}
		return m, x.rewrite(message.ReplaceRef(x.spare(), x.body, &x.env, name), "")
	}
	wrapped := x.env.RefURIString(x.body)
	switch {
	case wrapped != "":
	case x.env.RefTypeString(x.body) == "ref/prompt":
		return m, x.noSubject("ref.name", "the name of the prompt")
	case x.env.RefTypeString(x.body) == "ref/resource":
		return m, x.noSubject("ref.uri", "the URI of the resource template")
	default:
		return m, x.noSubject("ref", `what is completed, {"type": "ref/prompt", "name": …} or {"type": "ref/resource", "uri": …}`)
	}
	m, uri, ok := x.scope.Resource(wrapped)
	if !ok {
		return m, x.unknownResource()
	}
	return m, x.rewrite(message.ReplaceRef(x.spare(), x.body, &x.env, uri), "")
}

// paidNames lists what a member has of a kind, for names that were cut. When that fails nobody knows what is meant, and failed says why. It
// counts against the caller's limits before a list is read: whose the request is, and what else it counts against, is known only behind that.
func (h *Handler) paidNames(x *exchange, kind catalogue.Kind, failed *error) func(m *route.Member) iter.Seq[string] {
	return func(m *route.Member) iter.Seq[string] {
		var list *catalogue.List
		if *failed == nil {
			*failed = h.prepay(x)
		}
		if *failed == nil {
			r := x.legRequest()
			list, *failed = h.legs.List(x.ctx, &r, m, kind)
		}
		if *failed != nil {
			return func(func(string) bool) {}
		}
		return list.Names()
	}
}

// prepay charges the limits that hold whomever a request is for, once.
func (h *Handler) prepay(x *exchange) (err error) {
	if len(x.prepaid) > 0 {
		return nil
	}
	limits := x.table.AppendLimits(nil, x.principal, nil, "")
	if x.early, err = h.cfg.Limits.Acquire(limits); err == nil {
		x.prepaid = limits
	}
	return err
}

// direct makes the request one to a member.
func (h *Handler) direct(x *exchange, m *route.Member) error {
	if m.Server.Target == nil {
		return leg.NoEndpoint(m.Server, h.cfg.Region)
	}
	x.server, x.access = m.Server, m.Access
	x.aim()
	if x.era == message.Modern {
		return nil
	}
	u, live := x.many.Of(m.Server.Name)
	switch {
	case live:
		x.call.Session, x.call.Instance, x.call.Revision = u.ID, u.Instance, u.Revision
	case x.rec.Session != "" && (m.Server.NeedsSession || x.rec.Method == "resources/subscribe"):
		return several.Without(m.Server.Name)
	default:
		x.apart()
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
