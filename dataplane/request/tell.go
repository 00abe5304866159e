package request

import (
	"context"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// tell passes a notification on to the servers whose sessions the caller holds. Ids of requests are the caller's own everywhere, so a
// cancellation finds its request where that is, and means nothing to the others. What became of it nobody asks: 202.
func (h *Handler) tell(x *exchange) error {
	switch x.rec.Method {
	case "notifications/initialized", "notifications/cancelled", "notifications/roots/list_changed":
		if err := h.spread(x); err != nil {
			return err
		}
		if h.cancelApart(x) {
			break // ids are unique within the caller's session, so it means nothing to the others
		}
		h.toSessions(x, func(ctx context.Context, l *leg) error { return l.send(ctx, x.carried(l)) })
	case "notifications/progress":
		if err := h.spread(x); err != nil {
			return err
		}
		h.tellAsker(x)
	}
	return x.accepted()
}

// tellAsker passes the progress of what a server asked for on to that server.
func (h *Handler) tellAsker(x *exchange) {
	body, server, ok := message.UnwrapProgress(x.spare(), x.body, &x.env)
	m, open := x.scope.Member(server)
	if _, live := upstreamOf(&x.many, server); !ok || !open || !live {
		return
	}
	h.each(x, []*leg{h.newLeg(x, &m)}, func(ctx context.Context, l *leg) error { return l.send(ctx, body) })
}

// toSessions runs do for each server of which the caller holds a session.
func (h *Handler) toSessions(x *exchange, do func(ctx context.Context, l *leg) error) []gather.Outcome {
	var legs []*leg
	for i := range x.many.Upstreams {
		if m, ok := x.scope.Member(x.many.Upstreams[i].Server); ok {
			legs = append(legs, h.newLeg(x, &m))
		}
	}
	return h.each(x, legs, do)
}

// setLevel sets the level of logging wherever there is one to set. It fails when it failed everywhere, or when a session has been lost: the
// client is to begin anew, not to go on with half of its servers.
func (h *Handler) setLevel(x *exchange) error {
	outs := h.toSessions(x, func(ctx context.Context, l *leg) error {
		data, _, err := l.answer(ctx, x.carried(l))
		if err == nil && message.IsError(data) {
			return notTaken(l.member.Server.Name)
		}
		return err
	})
	ok := len(outs) == 0
	for i := range outs {
		if outs[i].Err != nil && lost(outs[i].Err) {
			return outs[i].Err
		}
		ok = ok || outs[i].Status == gather.OK
	}
	if !ok {
		return outs[0].Err
	}
	x.ans = message.AppendResult(x.ans[:0], x.id(), []byte("{}"))
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

func notTaken(server string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Remote: true, Server: server, Status: http.StatusOK,
		Code: fault.CodeMethodNotFound, Message: "the server " + server + " doesn't take a level of logging"}
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
	if err := x.headersOnly(); err != nil {
		return err
	}
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
	h.toSessions(x, func(ctx context.Context, l *leg) error {
		l.own = l.call.Session != ""
		l.close(ctx)
		return nil
	})
	x.done("ok")
	x.reply.Whole(http.StatusOK, nil, nil)
	return nil
}
