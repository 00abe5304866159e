package request

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/bridge"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// leg is one server's part of a request that is about several. It has all it needs of the request, so that it may outlive it where a list is
// fetched for others as well. One goroutine uses it at a time.
type leg struct {
	h      *Handler
	member route.Member
	call   hop.Call
	ask    credential.Ask
	rec    telemetry.Record
	era    message.Era
	now    time.Time

	live bool // the caller's session holds one of this server
	own  bool // call.Session is one of this leg alone

	walks  bool // it walks lists for the catalogue
	silent bool // the last exchange ended before an answer began, and that speaks against the server
}

// newLeg prepares a call to a member on behalf of x. finishLeg tells what came of it.
func (h *Handler) newLeg(x *exchange, m *route.Member) *leg {
	l := &leg{h: h, member: *m, era: x.era, now: x.now}
	h.cfg.Telemetry.BeginLeg(&x.rec, &l.rec)
	l.rec.Server, l.rec.Method, l.rec.Era = m.Server.Name, x.rec.Method, x.rec.Era
	if t := m.Server.Target; t != nil {
		l.rec.UpstreamAddr, l.rec.UpstreamPort, l.rec.UpstreamOrigin = t.Hostname, t.Port, t.Origin
	}
	l.call = hop.Call{Server: m.Server, Settings: x.table.Settings(), Principal: x.principal.ID, Method: http.MethodPost, Revision: x.call.Revision,
		Traceparent: string(telemetry.AppendTraceparent(nil, &l.rec.IDs, l.rec.Sampled)), Tracestate: x.rec.State}
	t := x.table
	l.ask = credential.Ask{Table: t, Server: m.Server, Principal: x.principal, Header: x.in.Header, Subject: x.admission.Token,
		Expires: x.admission.Expires, Single: !x.several, Holds: func(v string) bool { return h.cfg.Gate.Holds(t, v) }}
	if u, ok := upstreamOf(&x.many, m.Server.Name); ok && x.era == message.Legacy {
		l.live = true
		l.call.Session, l.call.Instance, l.call.Revision = u.ID, u.Instance, u.Revision
	}
	return l
}

// upstreamOf returns what a caller's session holds of a server.
func upstreamOf(m *session.Many, server string) (u session.Upstream, ok bool) {
	for i := range m.Upstreams {
		if m.Upstreams[i].Server == server {
			return m.Upstreams[i], true
		}
	}
	return u, false
}

// finishLeg tells what came of a leg.
func (h *Handler) finishLeg(x *exchange, rec *telemetry.Record, err error) {
	if f := fault.As(err); f != nil {
		rec.Fault = f
	}
	rec.End = time.Now()
	h.cfg.Telemetry.FinishLeg(&x.rec, rec)
}

// prepare finds out whether the server can be called at all, and what it wants of us.
func (l *leg) prepare(ctx context.Context) error {
	s := l.member.Server
	if s.Target == nil {
		return noEndpoint(s, l.h.cfg.Region)
	}
	ask := bridge.Ask{Caller: l.era, Method: l.rec.Method, Requested: l.call.Revision}
	if _, err := bridge.Between(ask, s, l.h.cfg.Hop.Known(s, l.now)); err != nil {
		return err
	}
	if s.Plain {
		return nil
	}
	l.rec.Credential.Start = time.Now()
	bound, err := l.h.cfg.Credentials.Resolve(ctx, &l.ask)
	l.rec.Credential.End = time.Now()
	l.call.Credential = bound.Fields
	return err
}

func noEndpoint(s *table.Server, region string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Server: s.Name,
		Message: "the server " + s.Name + " has no endpoint for the region " + region,
		Hint:    "call the gateway in a region the server lists, or add an endpoint for this one"}
}

// answer sends a request and returns the message that answers it: a result or a JSON-RPC error. session is the id that came with it.
func (l *leg) answer(ctx context.Context, body []byte) (data []byte, sessionID string, err error) {
	l.call.Body = body
	a, err := l.h.cfg.Hop.Send(ctx, &l.call, &l.rec)
	l.silent = err != nil && 2*l.rec.Upstream.End.Sub(l.rec.Upstream.Start) >= l.member.Server.Timeouts.List // as hop.Hop judges
	if err != nil {
		return nil, "", err
	}
	defer a.Close()
	name := l.member.Server.Name
	if a.Status/100 != 2 {
		r := a.Refused(nil, name, l.call.Session != "")
		l.disbelieved(a.Status)
		l.h.cfg.Hop.Learn(l.member.Server, l.rec.Method, a.Status, r.Body, l.now)
		if a.Status == http.StatusNotFound && l.era == message.Modern && r.Body != nil {
			return r.Body, "", nil // 2026-07-28: so comes the error for an unknown method
		}
		return nil, "", r.Fault
	}
	data, err = l.read(ctx, &a)
	if err != nil {
		return nil, "", nameFault(err, name)
	}
	l.h.cfg.Hop.Learn(l.member.Server, l.rec.Method, a.Status, data, l.now)
	return data, a.Session(), nil
}

func (l *leg) disbelieved(status int) {
	if status == http.StatusUnauthorized && !l.member.Server.Plain {
		l.h.cfg.Credentials.Refused(&l.ask)
	}
}

// read takes the answer out of a JSON body or an event stream. What else is on the stream is for nobody: a list or handshake of ours was
// asked for.
func (l *leg) read(ctx context.Context, a *hop.Answer) (data []byte, err error) {
	limit := l.call.Settings.Event
	switch a.Type {
	case transport.JSON:
		if l.walks {
			data, err = l.page(ctx, a)
		} else {
			data, err = a.ReadAll(nil, limit)
		}
		if err == nil && !message.IsResponse(data) {
			return nil, a.NotMCP(l.member.Server.Name, data)
		}
		return data, err
	case transport.SSE:
		if l.walks {
			return l.page(ctx, a)
		}
		return firstResponse(a, l.member.Server.Name, limit)
	}
	body, _ := a.ReadAll(nil, small) //nolint:errcheck // half a page tells as much
	return nil, a.NotMCP(l.member.Server.Name, body)
}

func firstResponse(a *hop.Answer, server string, limit int64) ([]byte, error) {
	var event, data []byte
	for {
		var err error
		event, err = a.NextEvent(event[:0], limit)
		if errors.Is(err, io.EOF) {
			return nil, hop.Unanswered(server)
		}
		if err != nil {
			return nil, err
		}
		var ok bool
		if data, ok = message.Data(data[:0], event); ok && message.IsResponse(data) {
			return data, nil
		}
	}
}

// send delivers a notification or an answer; whatever 2xx comes back will do.
func (l *leg) send(ctx context.Context, body []byte) error {
	l.call.Body, l.silent = body, false
	a, err := l.h.cfg.Hop.Send(ctx, &l.call, &l.rec)
	if err != nil {
		return err
	}
	defer a.Close()
	if a.Status/100 == 2 {
		return nil
	}
	l.disbelieved(a.Status)
	return a.Refused(nil, l.member.Server.Name, l.call.Session != "").Fault
}

// open begins a session of the leg's own, for a server of which the caller's session holds none.
func (l *leg) open(ctx context.Context, capabilities, client []byte) (message.Hello, error) {
	offer := message.Rev20251125
	if message.Known(l.call.Revision) {
		offer = l.call.Revision
	}
	method := l.rec.Method
	l.rec.Method = "initialize"
	l.call.Session, l.call.Revision, l.call.Repeatable = "", "", true
	data, id, err := l.answer(ctx, message.AppendHandshake(nil, []byte("1"), offer, capabilities, client, l.h.cfg.Agent))
	l.rec.Method, l.call.Repeatable = method, false
	if err != nil {
		return message.Hello{}, err
	}
	hello, ok := message.ReadInitialize(data)
	if !ok {
		return hello, notGreeted(l.member.Server.Name)
	}
	l.call.Session, l.call.Revision, l.own = id, hello.Revision, true
	l.h.told.note(l.member.Server, &hello)
	return hello, nil
}

func notGreeted(server string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Remote: true, Server: server,
		Message: "the server " + server + " refused to begin a session", Hint: "look at the server's own log"}
}

// initialized ends the handshake that open began.
func (l *leg) initialized(ctx context.Context) error {
	return l.send(ctx, message.AppendInitialized(nil))
}

// close ends a session of the leg's own.
func (l *leg) close(ctx context.Context) {
	if l.own {
		l.h.cfg.Hop.Goodbye(ctx, &l.call)
		l.own = false
	}
}

// nameFault puts a server into a fault that names none.
func nameFault(err error, server string) error {
	if f := fault.As(err); f != nil && f.Server == "" {
		f.Server = server
	}
	return err
}
