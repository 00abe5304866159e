// Package leg is one server's part of a request that is about several: calls, the session they run in, lists, streams.
//
// It promises that a leg has all it needs of its request and so may outlive it, as the walk over a list does for which others wait; that each
// leg has a record of its own under the request's; and that it asks the bridge, and for the server's credential, before it calls. It refuses to
// know of callers' sinks and of the other legs: putting answers together is for those who made them.
package leg

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/bridge"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Config of a Maker. All of it is required, Region and Agent excepted.
type Config struct {
	Hop         *hop.Hop
	Credentials *credential.Resolver
	// Holds reports whether a value holds one of the gateway's own credentials, which no server gets.
	Holds     func(t *table.Table, value string) bool
	Telemetry *telemetry.Telemetry
	// Lore are the cached lists of servers.
	Lore *catalogue.Catalogue
	// Region this data plane stands in.
	Region string
	// Agent is our name and version, "hopgate/1.2.3", for servers.
	Agent string
	Log   *slog.Logger
}

// Maker makes legs, and remembers what servers said of themselves. Safe for concurrent use.
type Maker struct {
	cfg       Config
	announced announced
}

// NewMaker returns a maker of legs.
func NewMaker(cfg Config) *Maker { return &Maker{cfg: cfg} }

// Request is what legs take of the request that they are part of.
type Request struct {
	// Record is the request's own. It is used by New and Finish only.
	Record *telemetry.Record
	Now    time.Time
	Era    message.Era
	// Revision is the one that the caller speaks; empty: none is known.
	Revision  string
	Table     *table.Table
	Principal *table.Principal
	// Header is the caller's. Read only.
	Header http.Header
	// Token is the JWT that admitted the caller; empty: a key did. Expires is its end; zero: not known.
	Token   string
	Expires time.Time
	// Single says that the endpoint is one server's.
	Single bool
	// Session is what the caller's session holds.
	Session *session.Many
	// Capabilities and Client are what the caller's client says of itself, raw JSON and short: they stay in memory with lists that are kept.
	Capabilities, Client []byte
	// Lost is told, before List returns, that the server doesn't know the caller's session any more, though the list was had in another one; nil:
	// nobody wants to know.
	Lost func(server string)
	// Spoke is told how a server is spoken to, as it becomes known, also behind the end of the request; nil: nobody wants to know.
	Spoke func(s *table.Server, bound *credential.Bound, revision string, err error)
}

// Aside returns r with a record of its own, under which legs are told of that belong to it when its own record has been told of already. Told
// ends it.
func (m *Maker) Aside(r *Request) Request {
	aside, record := *r, apart(r.Record)
	aside.Record, aside.Spoke = &record, nil
	return aside
}

// Told tells of the legs of what Aside returned.
func (m *Maker) Told(aside *Request) { m.cfg.Telemetry.ExportLegs(aside.Record) }

// apart is what legs take of their request's record, without the legs that it has.
func apart(p *telemetry.Record) telemetry.Record {
	return telemetry.Record{IDs: p.IDs, Sampled: p.Sampled, Debug: p.Debug, State: p.State, HTTPMethod: p.HTTPMethod, Path: p.Path,
		ClientAddr: p.ClientAddr, Caller: p.Caller, EndUser: p.EndUser, Session: p.Session, ConfigRevision: p.ConfigRevision}
}

// Leg is one server's part of a request. One goroutine uses it at a time.
type Leg struct {
	Member route.Member
	// Call is the next call to the server, as far as it is known.
	Call hop.Call

	m     *Maker
	ask   credential.Ask
	spoke func(s *table.Server, bound *credential.Bound, revision string, err error)
	bound credential.Bound
	rec   telemetry.Record
	era   message.Era
	now   time.Time

	live bool // the caller's session holds one of this server
	own  bool // Call.Session is one of this leg alone

	walks  bool // it walks lists for the catalogue
	silent bool // the last exchange ended before an answer began, and that speaks against the server
}

// New prepares a leg to a member on behalf of r, in the caller's session of that server if there is one. Finish tells what came of it.
func (m *Maker) New(r *Request, to *route.Member) *Leg {
	s := to.Server
	l := &Leg{m: m, Member: *to, era: r.Era, now: r.Now, spoke: r.Spoke}
	m.cfg.Telemetry.BeginLeg(r.Record, &l.rec)
	l.rec.Server, l.rec.Method, l.rec.Era = s.Name, r.Record.Method, r.Record.Era
	if t := s.Target; t != nil {
		l.rec.UpstreamAddr, l.rec.UpstreamPort, l.rec.UpstreamOrigin = t.Hostname, t.Port, t.Origin
	}
	l.Call = hop.Call{Server: s, Settings: r.Table.Settings(), Principal: r.Principal.ID, Method: http.MethodPost, Revision: r.Revision,
		Traceparent: string(telemetry.AppendTraceparent(nil, &l.rec.IDs, l.rec.Sampled)), Tracestate: r.Record.State}
	t := r.Table
	l.ask = credential.Ask{Table: t, Server: s, Principal: r.Principal, Header: r.Header, Subject: r.Token, Expires: r.Expires, Single: r.Single,
		Holds: func(v string) bool { return m.cfg.Holds(t, v) }}
	if u, ok := r.Session.Of(s.Name); ok && r.Era == message.Legacy {
		l.Within(&u)
	}
	return l
}

// Within makes the leg one in a session of the caller's.
func (l *Leg) Within(u *session.Upstream) {
	l.live = true
	l.Call.Session, l.Call.Instance, l.Call.Revision = u.ID, u.Instance, u.Revision
}

// Finish tells what came of the leg.
func (l *Leg) Finish(r *Request, err error) { l.m.finish(r, &l.rec, err) }

func (m *Maker) finish(r *Request, rec *telemetry.Record, err error) {
	if f := fault.As(err); f != nil {
		rec.Fault = f
	}
	rec.End = time.Now()
	m.cfg.Telemetry.FinishLeg(r.Record, rec)
}

// Prepare finds out whether the server can be called at all, and what it wants of us.
func (l *Leg) Prepare(ctx context.Context) (err error) {
	defer func() { l.told(err) }()
	s := l.Member.Server
	if s.Target == nil {
		return NoEndpoint(s, l.m.cfg.Region)
	}
	ask := bridge.Ask{Caller: l.era, Method: l.rec.Method, Requested: l.Call.Revision}
	if _, err := bridge.Between(ask, s, l.m.cfg.Hop.Known(s, l.now)); err != nil {
		return err
	}
	if s.Plain {
		return nil
	}
	l.rec.Credential.Start = time.Now()
	l.bound, err = l.m.cfg.Credentials.Resolve(ctx, &l.ask)
	l.rec.Credential.End = time.Now()
	l.Call.Credential = l.bound.Fields
	return err
}

func (l *Leg) told(err error) {
	if l.spoke != nil {
		l.spoke(l.Member.Server, &l.bound, l.Call.Revision, err)
	}
}

// NoEndpoint is the fault for a server that can't be reached from a region.
func NoEndpoint(s *table.Server, region string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Server: s.Name,
		Message: "the server " + s.Name + " has no endpoint for the region " + region,
		Hint:    "call the gateway in a region the server lists, or add an endpoint for this one"}
}
