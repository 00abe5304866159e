// Package several answers what is about all servers of an endpoint of several: the aggregate, toolsets, access groups and comma lists.
//
// It promises one answer, or one stream, in the names of the endpoint: each server is asked by a leg of its own, in parallel and within its time,
// and an outcome is told of each. Ids that servers' requests and events go out with hold the way back, sealed for the caller and the endpoint.
// It refuses to speak to callers: it takes what the request's stages have settled, and returns bytes. What is about one of the servers isn't its
// matter; it only gives the answer the names of the endpoint.
package several

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Config of Servers. All of it is required, Agent excepted.
type Config struct {
	Legs *leg.Maker
	// Hop says what is known of a server's era.
	Hop *hop.Hop
	// Table holds the config in force.
	Table *table.Holder
	// Agent is our name and version, "hopgate/1.2.3", for callers.
	Agent string
	Log   *slog.Logger
}

// Servers answers requests about several servers. Safe for concurrent use.
type Servers struct {
	cfg      Config
	calls    calls
	verdicts verdicts
}

// New returns Servers.
func New(cfg Config) *Servers { return &Servers{cfg: cfg} }

// Request is one about several servers, as the stages before have settled it. Read only.
type Request struct {
	leg.Request
	Door  endpoint.Endpoint
	Scope *route.Scope // what Door opens for the caller
	Env   *message.Envelope
	Body  []byte
	// Elsewhere says that parts of the caller's session live in other data planes, and aren't in Session.
	Elsewhere bool
}

func (r *Request) id() []byte { return r.Env.ID.Of(r.Body) }

// carried is the caller's message with the trace context of a leg.
func (r *Request) carried(l *leg.Leg) []byte {
	return message.Splice(nil, r.Body, r.Env, l.Call.Traceparent, l.Call.Tracestate)
}

func (s *Servers) legs(r *Request, members []route.Member) []*leg.Leg {
	legs := make([]*leg.Leg, len(members))
	for i := range members {
		legs[i] = s.cfg.Legs.New(&r.Request, &members[i])
	}
	return legs
}

func membersOf(legs []*leg.Leg) []route.Member {
	out := make([]route.Member, len(legs))
	for i, l := range legs {
		out[i] = l.Member
	}
	return out
}

// each runs do for legs in parallel, and tells what came of all of them.
func (s *Servers) each(ctx context.Context, r *Request, legs []*leg.Leg, do func(ctx context.Context, l *leg.Leg) error) []gather.Outcome {
	outs := gather.Each(ctx, membersOf(legs), func(ctx context.Context, i int) error {
		err := legs[i].Prepare(ctx)
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
		l.Finish(&r.Request, err)
	}
	return outs
}

// Without is the fault for a session that holds none of a server which must have one there.
func Without(server string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.NotFound, Status: http.StatusNotFound, Code: fault.CodeSession, Server: server,
		Message: "Session not found: it holds none of the server " + server + ", which keeps state in sessions", Hint: "initialize again"}
}

// broken tells which server has lost a session that can't be done without.
func (r *Request) broken(outs []gather.Outcome) error {
	for i := range outs {
		if outs[i].Err == nil || !hop.SessionLost(outs[i].Err) {
			continue
		}
		if m, ok := r.Scope.Member(outs[i].Server); ok && m.Server.NeedsSession {
			return Without(outs[i].Server)
		}
	}
	return nil
}
