package request

import (
	"context"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// Endpoints of several servers: the aggregate, toolsets, access groups and comma lists. A message is about one of the servers (owner.go), or
// about all of them (greet.go, lists.go, tell.go), and streams are merged (merged.go). What is about one goes on as it would on that server's
// own endpoint, and its answer is dressed in the endpoint's names (dress.go).

// postSeveral carries one message.
func (h *Handler) postSeveral(x *exchange) error {
	if err := h.read(x); err != nil {
		return err
	}
	if x.env.Kind == message.Batch {
		return h.batch(x)
	}
	if err := x.speak(); err != nil {
		return err
	}
	if err := x.openMany(); err != nil {
		return err
	}
	switch x.env.Kind {
	case message.Response:
		return h.answerAsked(x)
	case message.Notification:
		if done, err := h.handOverMany(x); done {
			return err
		}
		return h.tell(x)
	}
	return h.askSeveral(x)
}

func (h *Handler) askSeveral(x *exchange) error {
	if !x.has() {
		return unknownMethod(x)
	}
	switch x.rec.Method {
	case "ping":
		return x.pong()
	case "tools/call", "prompts/get", "resources/read", "resources/subscribe", "resources/unsubscribe", "completion/complete":
		return h.owned(x)
	case "subscriptions/listen":
		return h.subscribeSeveral(x)
	}
	if x.rec.Method == "logging/setLevel" {
		if done, err := h.handOverMany(x); done {
			return err
		}
	}
	h.dropAbsent(x)
	if err := h.permit(x); err != nil {
		return err
	}
	if err := h.spread(x); err != nil {
		return err
	}
	switch x.rec.Method {
	case "initialize":
		return h.greet(x)
	case "server/discover":
		return h.discover(x)
	case "tools/list":
		return h.list(x, catalogue.Tools)
	case "prompts/list":
		return h.list(x, catalogue.Prompts)
	case "resources/list":
		return h.list(x, catalogue.Resources)
	case "resources/templates/list":
		return h.list(x, catalogue.Templates)
	case "logging/setLevel":
		return h.setLevel(x)
	}
	return unknownMethod(x)
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

// has reports whether the method is one of the caller's era.
func (x *exchange) has() bool {
	switch x.rec.Method {
	case "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return x.era == message.Legacy
	case "server/discover", "subscriptions/listen":
		return x.era == message.Modern
	}
	return true
}

// spread takes the caller's trace context in, and looks at what of it is about to leave for several servers.
func (h *Handler) spread(x *exchange) error {
	h.adopt(x)
	x.call.Tracestate = x.rec.State
	return h.leaks(x)
}

// carried is the caller's message with the trace context of a leg.
func (x *exchange) carried(l *leg) []byte {
	return message.Splice(nil, x.body, &x.env, l.call.Traceparent, l.call.Tracestate)
}

// pong answers a ping: the endpoint lives, whatever its servers do.
func (x *exchange) pong() error {
	x.ans = message.AppendResult(x.ans[:0], x.id(), []byte("{}"))
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

func unknownMethod(x *exchange) error {
	status := http.StatusOK
	if x.era == message.Modern {
		status = http.StatusNotFound // 2026-07-28, error codes
	}
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unsupported, Status: status, Code: fault.CodeMethodNotFound,
		Message: "Method not found: endpoints of several servers don't have it", Hint: "send it to the endpoint of one server, /{server}/mcp"}
}

// each runs do for the members in parallel, with a leg for each, and tells what came of all of them.
func (h *Handler) each(x *exchange, legs []*leg, do func(ctx context.Context, l *leg) error) []gather.Outcome {
	outs := gather.Each(x.ctx, membersOf(legs), func(ctx context.Context, i int) error {
		err := legs[i].prepare(ctx)
		if err == nil {
			err = do(ctx, legs[i])
		}
		return err
	})
	for i, l := range legs {
		var err error
		if outs[i].Err != nil {
			err = outs[i].Err
		}
		h.finishLeg(x, &l.rec, err)
	}
	return outs
}
