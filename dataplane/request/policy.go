package request

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// permit decides whether the caller may send this message now: what its grants say of the method, the tool and the arguments, then the
// limits it counts against.
func (h *Handler) permit(x *exchange) error {
	if x.server != nil && !x.access.Free() {
		if err := x.allowed(); err != nil {
			return err
		}
	}
	if !x.asking() || x.rec.Method == "ping" {
		return nil
	}
	x.limits = x.table.AppendLimits(x.limits[:0], x.principal, x.server, x.rec.Tool)
	if len(x.prepaid) > 0 {
		x.limits = slices.DeleteFunc(x.limits, func(l *table.Limit) bool { return slices.Contains(x.prepaid, l) })
	}
	if len(x.limits) == 0 {
		return nil
	}
	var err error
	x.permit, err = h.cfg.Limits.Acquire(x.limits)
	return x.named(err)
}

// allowed holds the message against grants that don't open everything.
func (x *exchange) allowed() error {
	if !x.asking() {
		return nil // notifications and answers belong to requests that were looked at
	}
	switch {
	case x.rec.Method == "tools/call":
		return x.allowedCall()
	case x.access.ToolsOnly() && !besideTools(x.rec.Method):
		return x.denied("of the server "+x.server.Name+" only some tools are open to this caller, and "+x.rec.Method+" isn't about them",
			"grant the server itself, by its name or one of its groups")
	}
	return nil
}

// asking reports whether the message wants something done: a request, or the method of one without an id, which some servers carry out
// all the same.
func (x *exchange) asking() bool {
	return x.env.Kind == message.Request || x.env.Kind == message.Notification && !strings.HasPrefix(x.rec.Method, "notifications/")
}

// besideTools reports the requests that a caller who may only use tools needs.
func besideTools(method string) bool {
	switch method {
	case "initialize", "server/discover", "ping", "tools/list", "logging/setLevel", "subscriptions/listen":
		return true
	}
	return false
}

func (x *exchange) allowedCall() error {
	tool := x.rec.Tool
	if !x.access.Tool(tool) {
		return x.denied("the tool "+x.tool()+" of the server "+x.server.Name+" is not open to this caller",
			"`hopgate explain grant` says which grant closes it")
	}
	if err := x.onlyShown(tool); err != nil {
		return err
	}
	var broken error
	rule := x.access.Arguments(tool, func(name string) ([]byte, bool) {
		raw, ok, err := message.Argument(x.body, &x.env, name)
		if err != nil {
			broken = err
		}
		return raw, ok
	})
	switch {
	case broken != nil:
		return x.named(broken)
	case rule != nil:
		return x.denied("the argument "+shown(rule.Parameter)+" of the tool "+x.tool()+" "+rule.Problem,
			"`hopgate explain grant` says which rule it is")
	}
	return nil
}

// onlyShown refuses arguments that the server's config leaves out of the tool.
func (x *exchange) onlyShown(tool string) error {
	v, ok := x.server.Shape.Show(tool)
	if !ok || v.Parameters == nil {
		return nil
	}
	var other string
	err := message.EachArgument(x.body, &x.env, func(name string) bool {
		if !slices.Contains(v.Parameters, name) {
			other = name
		}
		return other == ""
	})
	switch {
	case err != nil:
		return x.named(err)
	case other != "":
		return x.denied("the argument "+shown(other)+" of the tool "+x.tool()+" is left out by the config of the server "+x.server.Name,
			"send only the arguments that tools/list shows")
	}
	return nil
}

func (x *exchange) denied(msg, hint string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Denied, Status: http.StatusForbidden, Server: x.server.Name,
		Message: msg, Hint: hint}
}

// shown is a name of the caller's choice, short enough for a sentence.
func shown(name string) string {
	const most = 64
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}
