package request

import (
	"context"
	"net/http"
	"slices"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// mostSessions is how many upstream sessions one of several servers holds; further servers get one for each call.
const mostSessions = 32

// mostOfClient bounds what a client says of itself where each server is told all of it, in bytes.
const mostOfClient = 64 << 10

func (h *Handler) legs(x *exchange, members []route.Member) []*leg {
	legs := make([]*leg, len(members))
	for i := range members {
		legs[i] = h.newLeg(x, &members[i])
	}
	return legs
}

func membersOf(legs []*leg) []route.Member {
	out := make([]route.Member, len(legs))
	for i, l := range legs {
		out[i] = l.member
	}
	return out
}

// greet answers initialize: it begins a session with each of the servers, in the name of the caller's client, and seals them into one. A server
// that is down now is used later, each time by a session of its own.
func (h *Handler) greet(x *exchange) error {
	capabilities, client := message.ClientOf(x.body, &x.env)
	if len(capabilities)+len(client) > mostOfClient {
		capabilities, client = session.Short(capabilities, client)
	}
	members := x.scope.Members()
	legs := h.legs(x, members[:min(len(members), mostSessions)])
	hellos := make([]message.Hello, len(legs))
	index := indexOf(legs)
	outs := h.each(x, legs, func(ctx context.Context, l *leg) (err error) {
		l.call.Revision = x.rec.Revision
		hellos[index[l]], err = l.open(ctx, capabilities, client)
		if err != nil {
			return err
		}
		if err = session.CheckUpstream(l.member.Server.Name, l.call.Session); err != nil {
			l.close(ctx) // it can't be kept
		}
		return err
	})
	if err := h.sealMany(x, legs, outs, capabilities, client); err != nil {
		h.closeAll(x, legs)
		return err
	}
	g := gather.Greeting{Revision: x.answered(), Agent: h.cfg.Agent, ToolsOnly: x.toolsOnly(legs), Incomplete: len(members) > len(legs),
		Parts: parts(legs, hellos, outs), Outcomes: outs}
	x.ans = gather.AppendInitialize(x.ans[:0], x.id(), g)
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

// toolsOnly reports whether the endpoint opens nothing but tools to the caller.
func (x *exchange) toolsOnly(legs []*leg) bool {
	if x.scope.Toolset != nil {
		return true
	}
	for _, l := range legs {
		if !l.member.Access.ToolsOnly() {
			return false
		}
	}
	return len(legs) > 0
}

func indexOf(legs []*leg) map[*leg]int {
	index := make(map[*leg]int, len(legs))
	for i, l := range legs {
		index[l] = i
	}
	return index
}

// answered is the revision the endpoint settles on: the one that was offered, if it is a released one with a handshake.
func (x *exchange) answered() string {
	if offer := x.env.OfferString(x.body); slices.Contains(message.LegacyRevisions(), offer) {
		return offer
	}
	return message.Rev20251125
}

// sealMany gives the caller the sessions that were begun, in sealed form. Those that don't fit are ended.
func (h *Handler) sealMany(x *exchange, legs []*leg, outs []gather.Outcome, capabilities, client []byte) error {
	m := session.Many{Capabilities: capabilities, ClientInfo: client, Revision: x.answered(), Principal: x.principal.ID, Endpoint: x.door.Canonical(),
		Issued: x.now, Expires: x.now.Add(sessionLife)}
	var held []*leg
	for i, l := range legs {
		if outs[i].Status == gather.OK {
			held = append(held, l)
			m.Upstreams = append(m.Upstreams, session.Upstream{Server: l.member.Server.Name, Instance: l.call.Instance, ID: l.call.Session, Revision: l.call.Revision})
		}
	}
	if err := x.ctx.Err(); err != nil {
		return clientGone(x, err)
	}
	token, sealed, err := session.SealMany(x.table.Ring("session"), m)
	if err != nil {
		return err
	}
	h.closeAll(x, held[sealed:])
	x.rec.Session = session.ShortHash(token)
	x.reply.Sink.Header()["Mcp-Session-Id"] = []string{token}
	return nil
}

// closeAll ends sessions that nobody will use.
func (h *Handler) closeAll(x *exchange, legs []*leg) {
	ctx := context.WithoutCancel(x.ctx)
	gather.Each(ctx, membersOf(legs), func(ctx context.Context, i int) error {
		legs[i].close(ctx)
		return nil
	})
}

// parts are the servers that said hello.
func parts(legs []*leg, hellos []message.Hello, outs []gather.Outcome) []gather.Part {
	var out []gather.Part
	for i, l := range legs {
		if outs[i].Status == gather.OK {
			out = append(out, gather.Part{Server: l.member.Server.Name, Hello: hellos[i]})
		}
	}
	return out
}

// discover answers server/discover (2026-07-28) for all of them. Eras aren't bridged: where a server has a handshake only, the caller is told to
// use that, so that no server is lost without a word.
func (h *Handler) discover(x *exchange) error {
	legs := h.legs(x, x.scope.Members())
	hellos := make([]message.Hello, len(legs))
	index := indexOf(legs)
	outs := h.each(x, legs, func(ctx context.Context, l *leg) error {
		l.call.MCPMethod, l.call.Repeatable = x.rec.Method, true
		data, _, err := l.answer(ctx, x.carried(l))
		if err != nil {
			return err
		}
		hello, ok := message.ReadDiscover(data)
		if !ok || !slices.Contains(hello.Versions, x.rec.Revision) {
			return otherEra(l.member.Server.Name, x.rec.Revision)
		}
		hellos[index[l]] = hello
		h.told.note(l.member.Server, &hello)
		return nil
	})
	for i := range outs {
		if s := legs[i].member.Server; h.cfg.Hop.Known(s, x.now).NotModern || s.Protocol == "legacy" {
			return otherEra(s.Name, x.rec.Revision)
		}
	}
	g := gather.Greeting{Revision: x.rec.Revision, Versions: message.ModernRevisions(), Agent: h.cfg.Agent, ToolsOnly: x.toolsOnly(legs),
		Parts: parts(legs, hellos, outs), Outcomes: outs}
	x.ans = gather.AppendDiscover(x.ans[:0], x.id(), g)
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

func otherEra(server, requested string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Server: server, Status: http.StatusBadRequest,
		Code: fault.CodeVersion, Data: message.VersionData(message.LegacyRevisions(), requested),
		Message: "the server " + server + " of this endpoint speaks an earlier era of MCP",
		Hint:    "let the client fall back to a revision with a handshake; eras aren't bridged on this endpoint"}
}
