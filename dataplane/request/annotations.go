package request

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/proto/fault"
)

// hints takes into account what the server's own list says of the tool that is called: whether it may run twice, and whether it still is what an
// operator looked at.
func (h *Handler) hints(x *exchange) error {
	switch {
	case x.env.Kind != message.Request:
		return nil
	case x.rec.Method == "tools/list":
		return h.hideDrifted(x)
	case x.rec.Method != "tools/call":
		return nil
	}
	m := route.Member{Server: x.server, Access: x.access}
	if x.several {
		h.repeatable(x)
	}
	if x.server.Shape == nil || !x.server.Shape.HideDrifted {
		return nil
	}
	if v, ok := x.server.Shape.Show(x.rec.Tool); !ok || v.Pin == "" {
		return nil
	}
	list, err := h.listOf(x, &m)
	if err != nil {
		return err
	}
	if _, drifted := list.Drifted[x.rec.Tool]; drifted {
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Mismatch, Status: http.StatusForbidden, Server: x.server.Name,
			Message: "the tool " + x.tool() + " of the server " + x.server.Name + " has changed since its definition was pinned",
			Hint:    "look at what has changed, and renew the pin in spec.tools.overrides: `hopgate tools " + x.server.Name + " --pins`"}
	}
	return nil
}

// repeatable marks a call of a tool that calls itself idempotent or read-only, if its list is at hand.
func (h *Handler) repeatable(x *exchange) {
	r := x.legRequest()
	if list, ok := h.legs.Peek(&r, x.server, catalogue.Tools); ok {
		if item, ok := list.Find(x.rec.Tool); ok {
			x.call.Repeatable = item.Idempotent || item.ReadOnly
		}
	}
}

// listOf brings the list of a server's tools.
func (h *Handler) listOf(x *exchange, m *route.Member) (*catalogue.List, error) {
	r := x.legRequest()
	return h.legs.List(x.ctx, &r, m, catalogue.Tools)
}

// hideDrifted finds the tools of the one server of the endpoint that its config hides since they have changed.
func (h *Handler) hideDrifted(x *exchange) error {
	if yes(x.in.Header["X-Hopgate-Unshaped"]) && !x.unshaped() {
		return x.denied("tools as the server has them are for callers with the role debug whose grants open all of the server", "use the master key")
	}
	if x.server.Shape == nil || !x.server.Shape.HideDrifted {
		return nil
	}
	list, err := h.listOf(x, &route.Member{Server: x.server, Access: x.access})
	if err != nil {
		return err
	}
	x.drifted = list.Drifted
	return nil
}
