package several

import (
	"context"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/proto/fault"
)

// Tells reports whether a notification is for servers.
func Tells(method string) bool {
	switch method {
	case "notifications/initialized", "notifications/cancelled", "notifications/roots/list_changed", "notifications/progress":
		return true
	}
	return false
}

// Notify passes a notification on to the servers whose sessions the caller holds. Ids of requests are the caller's own everywhere, so a
// cancellation finds its request where that is, and means nothing to the others. What became of it nobody asks, unless all of them say that the
// session is gone: Ended.
func (s *Servers) Notify(ctx context.Context, r *Request) error {
	switch {
	case r.Record.Method == "notifications/progress":
		s.tellAsker(ctx, r)
	case s.cancel(ctx, r): // ids are unique within the caller's session, so it means nothing to the others
	default:
		outs := s.toSessions(ctx, r, func(ctx context.Context, l *leg.Leg) error { return l.Send(ctx, r.carried(l)) })
		if r.allLost(outs) {
			return Ended()
		}
	}
	return nil
}

// tellAsker passes the progress of what a server asked for on to that server.
func (s *Servers) tellAsker(ctx context.Context, r *Request) {
	body, server, ok := message.UnwrapProgress(nil, r.Body, r.Env)
	m, open := r.Scope.Member(server)
	if _, live := r.Session.Of(server); !ok || !open || !live {
		return
	}
	s.each(ctx, r, s.legs(r, []route.Member{m}), func(ctx context.Context, l *leg.Leg) error { return l.Send(ctx, body) })
}

// toSessions runs do for each server of which the caller holds a session.
func (s *Servers) toSessions(ctx context.Context, r *Request, do func(ctx context.Context, l *leg.Leg) error) []gather.Outcome {
	return s.each(ctx, r, s.legs(r, r.held(r.Scope)), do)
}

// held are the servers of a scope of which the caller holds a session.
func (r *Request) held(scope *route.Scope) []route.Member {
	var members []route.Member
	for i := range r.Session.Upstreams {
		if m, ok := scope.Member(r.Session.Upstreams[i].Server); ok {
			members = append(members, m)
		}
	}
	return members
}

// SetLevel sets the level of logging wherever there is one to set. It fails when it failed everywhere, or when a session has been lost: the
// client is to begin anew, not to go on with half of its servers.
func (s *Servers) SetLevel(ctx context.Context, r *Request) error {
	outs := s.toSessions(ctx, r, func(ctx context.Context, l *leg.Leg) error {
		data, _, err := l.Answer(ctx, r.carried(l))
		if err == nil && message.IsError(data) {
			return notTaken(l.Member.Server.Name)
		}
		return err
	})
	ok := len(outs) == 0
	for i := range outs {
		if outs[i].Err != nil && hop.SessionLost(outs[i].Err) {
			return outs[i].Err
		}
		ok = ok || outs[i].Status == gather.OK
	}
	if !ok {
		return outs[0].Err
	}
	return nil
}

func notTaken(server string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Remote: true, Server: server, Status: http.StatusOK,
		Code: fault.CodeMethodNotFound, Message: "the server " + server + " doesn't take a level of logging"}
}

// End ends the caller's session: each of those it holds. Ended: there was none to end any more.
func (s *Servers) End(ctx context.Context, r *Request) error {
	whole := r.Scope.Whole()
	outs := s.each(ctx, r, s.legs(r, r.held(&whole)), func(ctx context.Context, l *leg.Leg) error { return l.End(ctx) })
	if r.allLost(outs) {
		return Ended()
	}
	return nil
}
