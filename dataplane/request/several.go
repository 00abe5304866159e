package request

import (
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/table"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/request/several"
	"github.com/hopgate/hopgate/proto/fault"
)

// Endpoints of several servers: the aggregate, toolsets, access groups and comma lists. What is about all of the servers package several answers;
// what is about one of them (owner.go) goes on as it would on that server's own endpoint, and its answer is dressed in the endpoint's names.

// postSeveral carries one message.
func (h *Handler) postSeveral(x *exchange) error {
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
	r := x.asked()
	switch x.rec.Method {
	case "initialize":
		return h.greet(x, &r)
	case "server/discover":
		return x.answerAll(h.several.Discover(x.ctx, &r, x.ans[:0]))
	case "tools/list":
		return x.answerAll(h.several.List(x.ctx, &r, catalogue.Tools, x.ans[:0]))
	case "prompts/list":
		return x.answerAll(h.several.List(x.ctx, &r, catalogue.Prompts, x.ans[:0]))
	case "resources/list":
		return x.answerAll(h.several.List(x.ctx, &r, catalogue.Resources, x.ans[:0]))
	case "resources/templates/list":
		return x.answerAll(h.several.List(x.ctx, &r, catalogue.Templates, x.ans[:0]))
	case "logging/setLevel":
		if err := h.several.SetLevel(x.ctx, &r); err != nil {
			return err
		}
		return x.pong()
	}
	return unknownMethod(x)
}

// asked is the request as package several wants it.
func (x *exchange) asked() several.Request {
	return several.Request{Request: x.legRequest(), Door: x.door, Scope: &x.scope, Env: &x.env, Body: x.body, Elsewhere: x.elsewhere}
}

// legRequest is the request as package leg wants it.
func (x *exchange) legRequest() leg.Request {
	capabilities, client := x.client()
	return leg.Request{Spoke: x.spoke(), Record: &x.rec, Now: x.now, Era: x.era, Revision: x.call.Revision, Table: x.table, Principal: x.principal, Header: x.in.Header,
		Token: x.admission.Token, Expires: x.admission.Expires, Single: !x.several, Session: &x.many, Capabilities: capabilities, Client: client}
}

// spoke notes for diagnostics how servers are spoken to; nil: nobody asked. It outlives the request with the legs.
func (x *exchange) spoke() func(s *table.Server, bound *credential.Bound, revision string, err error) {
	legs := x.reply.Legs
	if legs == nil {
		return nil
	}
	return func(s *table.Server, bound *credential.Bound, revision string, err error) {
		if bound == nil {
			legs.Add(reply.Leg{Server: s, Kept: true})
			return
		}
		legs.Add(reply.Leg{Server: s, Resolution: bound.Resolution, Token: bound.Shown, Revision: revision, Fault: fault.As(err)})
	}
}

// client is what the caller's client says of itself, as raw JSON: in its session, or on each request. It is short in both: each leg has a copy, and
// it stays in memory with lists that are kept.
func (x *exchange) client() (capabilities, info []byte) {
	if x.era == message.Modern || x.rec.Method == "initialize" {
		return session.Short(message.ClientOf(x.body, &x.env))
	}
	return x.many.Capabilities, x.many.ClientInfo
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

// pong answers a ping: the endpoint lives, whatever its servers do.
func (x *exchange) pong() error {
	return x.answerAll(message.AppendResult(x.ans[:0], x.id(), []byte("{}")), nil)
}

// answerAll sends what all servers together have answered.
func (x *exchange) answerAll(answer []byte, err error) error {
	if err != nil && fault.As(err) == nil && x.ctx.Err() != nil {
		return clientGone(x, err)
	}
	if err != nil {
		return err
	}
	x.ans = answer
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

// greet answers initialize, and gives the caller the sessions that were begun in sealed form.
func (h *Handler) greet(x *exchange, r *several.Request) error {
	answer, token, err := h.several.Initialize(x.ctx, r, x.ans[:0])
	if err == nil {
		x.rec.Session = session.ShortHash(token)
		x.reply.Sink.Header()["Mcp-Session-Id"] = []string{token}
	}
	return x.answerAll(answer, err)
}

// tell passes a notification on to servers. What became of it nobody asks: 202, unless the whole session is gone.
func (h *Handler) tell(x *exchange) error {
	if several.Tells(x.rec.Method) {
		if err := h.spread(x); err != nil {
			return err
		}
		r := x.asked()
		if err := h.several.Notify(x.ctx, &r); err != nil {
			return err
		}
	}
	return x.accepted()
}

// unasked is the refusal of an answer: nobody asked under that id, and the session is what it was.
func unasked(err error) error {
	if f := fault.As(err); f != nil && f.Kind == fault.Malformed {
		f.Status, f.Code, f.Message = http.StatusBadRequest, fault.CodeInvalidRequest, "the answer's id isn't that of a request which this endpoint has sent"
		f.Phase, f.Hint = fault.Request, "answer with the id as it came, byte for byte"
	}
	return err
}

// answerAsked takes the caller's answer to a server's request to that server: whom it is for is sealed in its id.
func (h *Handler) answerAsked(x *exchange) error {
	id := message.IDString(x.body, &x.env)
	asked, err := session.OpenAsked(x.table.Ring("session"), id, x.principal.ID, x.door.Canonical(), x.now)
	if err != nil {
		return unasked(err)
	}
	m, ok := x.scope.Member(asked.Server)
	if !ok {
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
			Message: "the server that asked isn't open to this caller here any more", Hint: "initialize again"}
	}
	if err := h.direct(x, &m); err != nil {
		return err
	}
	x.alone = false
	x.call.Session, x.call.Instance, x.call.Revision = asked.Session, asked.Instance, asked.Revision
	if done, err := h.handOver(x); done {
		return err
	}
	out, ok := message.ReplaceID(x.spare(), x.body, asked.ID)
	if !ok {
		return malformed("the answer's id can't be read", nil)
	}
	if err := x.rewrite(out, ""); err != nil {
		return err
	}
	return h.forward(x)
}

// endSeveral closes a session of several servers (DELETE): each of those it holds.
func (h *Handler) endSeveral(x *exchange) error {
	if x.era == message.Modern {
		return x.wrongMethod(http.MethodPost)
	}
	if x.rec.Session == "" {
		return noSession("there is nothing to end")
	}
	if done, err := h.handOverMany(x); done {
		return err
	}
	if err := h.spread(x); err != nil {
		return err
	}
	r := x.asked()
	if err := h.several.End(x.ctx, &r); err != nil {
		return err
	}
	x.done("ok")
	x.reply.Whole(http.StatusOK, nil, nil)
	return nil
}
