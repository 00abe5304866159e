package several

import (
	"context"
	"net/http"
	"slices"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// mostSessions is how many upstream sessions one of several servers holds; further servers get one for each call.
const mostSessions = 32

// mostOfClient bounds what a client says of itself where each server is told all of it, in bytes.
const mostOfClient = 64 << 10

// Initialize begins a session with each of the servers, in the name of the caller's client, and seals them into one. It appends the answer to
// initialize to dst and returns the sealed session that goes out with it. A server that is down now is used later, each time by a session of its
// own. What isn't a fault is that ctx ended.
func (s *Servers) Initialize(ctx context.Context, r *Request, dst []byte) (answer []byte, token string, err error) {
	capabilities, client := message.ClientOf(r.Body, r.Env)
	if len(capabilities)+len(client) > mostOfClient {
		capabilities, client = session.Short(capabilities, client)
	}
	members := r.Scope.Members()
	legs := s.legs(r, members[:min(len(members), mostSessions)])
	hellos := make([]message.Hello, len(legs))
	index := indexOf(legs)
	outs := s.each(ctx, r, legs, func(ctx context.Context, l *leg.Leg) (err error) {
		l.Call.Revision = r.Record.Revision
		err = l.Timely(ctx, &r.Request, catalogue.Initialize, func() (err error) {
			hellos[index[l]], err = l.Open(ctx, capabilities, client)
			return err
		})
		if err != nil {
			return err
		}
		if err = session.CheckUpstream(l.Member.Server.Name, l.Call.Session); err != nil {
			l.Close(ctx) // it can't be kept
		}
		return err
	})
	if token, err = s.sealAll(ctx, r, legs, outs, capabilities, client); err != nil {
		s.closeAll(ctx, legs)
		return dst, "", err
	}
	g := gather.Greeting{Revision: r.answered(), Agent: s.cfg.Agent, ToolsOnly: r.toolsOnly(legs), Incomplete: len(members) > len(legs),
		Parts: parts(legs, hellos, outs), Outcomes: outs}
	return gather.AppendInitialize(dst, r.id(), g), token, nil
}

// toolsOnly reports whether the endpoint opens nothing but tools to the caller.
func (r *Request) toolsOnly(legs []*leg.Leg) bool {
	if r.Scope.Toolset != nil {
		return true
	}
	for _, l := range legs {
		if !l.Member.Access.ToolsOnly() {
			return false
		}
	}
	return len(legs) > 0
}

func indexOf(legs []*leg.Leg) map[*leg.Leg]int {
	index := make(map[*leg.Leg]int, len(legs))
	for i, l := range legs {
		index[l] = i
	}
	return index
}

// answered is the revision the endpoint settles on: the one that was offered, if it is a released one with a handshake.
func (r *Request) answered() string {
	if offer := r.Env.OfferString(r.Body); slices.Contains(message.LegacyRevisions(), offer) {
		return offer
	}
	return message.Rev20251125
}

// sealAll seals the sessions that were begun into one for the caller. Those that don't fit are ended.
func (s *Servers) sealAll(ctx context.Context, r *Request, legs []*leg.Leg, outs []gather.Outcome, capabilities, client []byte) (token string, err error) {
	m := session.Many{Capabilities: capabilities, ClientInfo: client, Revision: r.answered(), Principal: r.Principal.ID, Endpoint: r.Door.Canonical(),
		Issued: r.Now, Expires: r.Now.Add(session.Life)}
	var held []*leg.Leg
	for i, l := range legs {
		if outs[i].Status == gather.OK {
			held = append(held, l)
			m.Upstreams = append(m.Upstreams, session.Upstream{Server: l.Member.Server.Name, Instance: l.Call.Instance, ID: l.Call.Session, Revision: l.Call.Revision})
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	token, sealed, err := session.SealMany(r.Table.Ring("session"), m)
	if err != nil {
		return "", err
	}
	s.closeAll(ctx, held[sealed:])
	return token, nil
}

// closeAll ends sessions that nobody will use.
func (s *Servers) closeAll(ctx context.Context, legs []*leg.Leg) {
	gather.Each(context.WithoutCancel(ctx), membersOf(legs), func(ctx context.Context, i int) error {
		legs[i].Close(ctx)
		return nil
	})
}

// parts are the servers that said hello.
func parts(legs []*leg.Leg, hellos []message.Hello, outs []gather.Outcome) []gather.Part {
	var out []gather.Part
	for i, l := range legs {
		if outs[i].Status == gather.OK {
			out = append(out, gather.Part{Server: l.Member.Server.Name, Hello: hellos[i]})
		}
	}
	return out
}

// Discover appends the answer to server/discover (2026-07-28) to dst. Eras aren't bridged: where a server has a handshake only, the caller is told to
// use that, so that no server is lost without a word.
func (s *Servers) Discover(ctx context.Context, r *Request, dst []byte) ([]byte, error) {
	members := r.Scope.Members()
	if err := s.legacy(r, members); err != nil {
		return dst, err // nobody needs to be asked
	}
	legs := s.legs(r, members)
	hellos := make([]message.Hello, len(legs))
	index := indexOf(legs)
	outs := s.each(ctx, r, legs, func(ctx context.Context, l *leg.Leg) error {
		return l.Timely(ctx, &r.Request, catalogue.Discover, func() (err error) {
			hellos[index[l]], err = discover(ctx, r, l)
			return err
		})
	})
	if err := s.legacy(r, members); err != nil {
		return dst, err
	}
	g := gather.Greeting{Revision: r.Record.Revision, Versions: message.ModernRevisions(), Agent: s.cfg.Agent, ToolsOnly: r.toolsOnly(legs),
		Parts: parts(legs, hellos, outs), Outcomes: outs}
	return gather.AppendDiscover(dst, r.id(), g), nil
}

// discover asks one server.
func discover(ctx context.Context, r *Request, l *leg.Leg) (hello message.Hello, err error) {
	l.Call.MCPMethod, l.Call.Repeatable = r.Record.Method, true
	data, _, err := l.Answer(ctx, r.carried(l))
	if err != nil {
		return hello, err
	}
	hello, ok := message.ReadDiscover(data)
	if !ok || !slices.Contains(hello.Versions, r.Record.Revision) {
		return hello, otherEra(l.Member.Server.Name, r.Record.Revision)
	}
	l.Announced(&hello)
	return hello, nil
}

// legacy is the refusal of an endpoint of which one server is known to speak the earlier era only.
func (s *Servers) legacy(r *Request, members []route.Member) error {
	for i := range members {
		if of := members[i].Server; of.Protocol == "legacy" || s.cfg.Hop.Known(of, r.Now).NotModern {
			return otherEra(of.Name, r.Record.Revision)
		}
	}
	return nil
}

func otherEra(server, requested string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Server: server, Status: http.StatusBadRequest,
		Code: fault.CodeVersion, Data: message.VersionData(message.LegacyRevisions(), requested),
		Message: "the server " + server + " of this endpoint speaks an earlier era of MCP",
		Hint:    "let the client fall back to a revision with a handshake; eras aren't bridged on this endpoint"}
}
