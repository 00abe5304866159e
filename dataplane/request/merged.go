package request

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// listenSeveral merges the standalone GET streams of the servers whose sessions the caller holds, or resumes broken ones at the places that the
// caller's last event names.
func (h *Handler) listenSeveral(x *exchange) error {
	if err := x.headersOnly(); err != nil {
		return err
	}
	if x.rec.Session == "" {
		return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.Malformed, Status: http.StatusBadRequest, Code: fault.CodeSession,
			Message: "Bad Request: a stream of several servers belongs to a session", Hint: "initialize first, and send the Mcp-Session-Id that it gave"}
	}
	h.adopt(x)
	var resume []session.Position
	if id := x.in.Header.Get("Last-Event-Id"); id != "" {
		var err error
		if resume, err = session.OpenEvents(x.table.Ring("session"), id, x.principal.ID, x.door.Canonical(), x.now); err != nil {
			return err
		}
	}
	legs := h.streamLegs(x, resume)
	x.hear(legs)
	return h.stay(x, func(ctx context.Context) error {
		f := h.funnel(ctx, x)
		defer f.Close()
		for _, l := range legs {
			f.Add(l.member.Server.Name, func(ctx context.Context) (gather.Events, error) { return l.listen(ctx) })
		}
		return h.relayMerged(x, f)
	})
}

// hear notes whose streams the caller is about to hear, for when the config changes.
func (x *exchange) hear(legs []*streamLeg) {
	for _, l := range legs {
		x.hears = append(x.hears, l.member)
	}
}

func (h *Handler) funnel(ctx context.Context, x *exchange) *gather.Funnel {
	f := gather.NewFunnel(ctx)
	f.EventLimit = x.table.Settings().Event
	return f
}

// judgeSeveral tells why the merged stream of x wouldn't be opened under t: somebody else calls, or one of the servers isn't the same one, open
// to the caller as it was.
func (x *exchange) judgeSeveral(t *table.Table, p *table.Principal, place route.Place) error {
	if p.ID != x.principal.ID {
		return revoked(x)
	}
	scope, err := route.Several(t, p, x.door, x.in.Header["X-Mcp-Servers"], place)
	if err != nil {
		return err
	}
	for i := range x.hears {
		was := &x.hears[i]
		m, ok := scope.Member(was.Server.Name)
		if !ok || m.Server.UID != was.Server.UID || was.Access.Free() && !m.Access.Free() || m.Access.ToolsOnly() && !was.Access.ToolsOnly() {
			return revoked(x)
		}
	}
	return nil
}

// streamLegs are the streams to open: all of the session, or those that the last event names, each from its place on.
func (h *Handler) streamLegs(x *exchange, resume []session.Position) []*streamLeg {
	var out []*streamLeg
	for i := range x.many.Upstreams {
		u := &x.many.Upstreams[i]
		m, ok := x.scope.Member(u.Server)
		if !ok || u.ID == "" {
			continue
		}
		l := h.newStreamLeg(x, &m)
		l.call.Method, l.rec.Method = http.MethodGet, ""
		for _, p := range resume {
			if p.Server == u.Server {
				l.call.LastEventID = p.ID
			}
		}
		if len(resume) == 0 || l.call.LastEventID != "" {
			out = append(out, l)
		}
	}
	return out
}

// streamLeg is one server's stream of a merged one. Its funnel's goroutine uses it.
type streamLeg struct {
	*leg
	parent *telemetry.Record // in place of the caller's, which goes on without it
}

func (h *Handler) newStreamLeg(x *exchange, m *route.Member) *streamLeg {
	l := &streamLeg{leg: h.newLeg(x, m), parent: &telemetry.Record{IDs: x.rec.IDs, Sampled: x.rec.Sampled, Caller: x.rec.Caller}}
	l.call.Stream = true
	return l
}

// listen opens the stream.
func (l *streamLeg) listen(ctx context.Context) (gather.Events, error) {
	l.rec.Fault, l.rec.Start, l.rec.End = nil, time.Now(), time.Time{}
	e, err := l.connect(ctx)
	if f := fault.As(err); f != nil {
		l.rec.Fault = f
	}
	l.h.cfg.Telemetry.BeginLeg(l.parent, &l.rec)
	l.h.cfg.Telemetry.FinishLeg(l.parent, &l.rec)
	return e, err
}

func (l *streamLeg) connect(ctx context.Context) (gather.Events, error) {
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	a, err := l.h.cfg.Hop.Send(ctx, &l.call, &l.rec)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Status/100 == 2 && a.Type == transport.SSE:
		return a.Body, nil
	case a.Status/100 == 2:
		a.Close()
		return nil, errors.ErrUnsupported
	}
	defer a.Close()
	l.disbelieved(a.Status)
	return nil, a.Refused(nil, l.member.Server.Name, l.call.Session != "").Fault
}

// stay holds a long-lived stream within the caller's share until either side or the drain ends it.
func (h *Handler) stay(x *exchange, run func(ctx context.Context) error) error {
	if err := h.streams.Acquire(x.principal.ID, x.table.Settings().StreamsPerPrincipal); err != nil {
		return err
	}
	defer h.streams.Release(x.principal.ID)
	open := h.cfg.Telemetry.Streams()
	open.Inc()
	defer open.Dec()
	ctx, cancel := context.WithCancelCause(x.ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.draining, func() { cancel(errDraining) })()
	x.permit.Release()
	defer h.watch.add(x, cancel)()
	if err := h.overtaken(x); err != nil {
		return err
	}
	x.ctx = ctx
	return run(ctx)
}

// relayMerged brings the events of all streams to the caller.
func (h *Handler) relayMerged(x *exchange, f *gather.Funnel) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	var places []session.Position
	for {
		x.shed()
		server, event, err := f.Next()
		switch {
		case errors.Is(err, gather.ErrGap):
			h.missed(x, server)
			continue
		case err != nil && (x.in.Context.Err() != nil || drained(x.ctx)):
			return nil
		case err != nil:
			return err
		}
		x.ans = append(x.ans[:0], event...)
		if !x.isMCP() {
			continue
		}
		if err := x.sieveMerged(server); err != nil {
			return err
		}
		if u, ok := upstreamOf(&x.many, server); ok {
			if id := string(message.ID(x.ans)); id != "" {
				places = positions(places, server, id)
			}
			if err := x.dress(server, u.Instance, u.ID, u.Revision, places); err != nil {
				return err
			}
		}
		h.changed(x, server)
		if err := h.pass(x); err != nil && x.in.Context.Err() == nil {
			return err
		}
	}
}

// sieveMerged cuts what is closed to the caller out of lists that a resumed stream brings again.
func (x *exchange) sieveMerged(server string) error {
	if !message.IsResponse(x.data) {
		return nil
	}
	m, ok := x.scope.Member(server)
	if !ok {
		return revoked(x)
	}
	out, changed, err := message.EditEvent(x.worn[:0], x.ans, func(tool string) (message.View, bool) {
		v, open := x.scope.Show(&m, tool)
		return message.View{Name: v.Name, Description: v.Description, Parameters: v.Parameters}, open
	})
	if changed && err == nil {
		x.ans, x.worn = out, x.ans
	}
	return nameFault(err, server)
}

// changed lets go of cached lists of which the message in x.data says that they have changed.
func (h *Handler) changed(x *exchange, server string) {
	s, ok := x.table.Server(server)
	if !ok {
		return
	}
	for _, kind := range changedBy(message.Method(x.data)) {
		h.lore.Changed(s.Hash, kind)
	}
}

// missed lets go of all cached lists of a server whose stream was interrupted: nobody knows what it told meanwhile.
func (h *Handler) missed(x *exchange, server string) {
	if s, ok := x.table.Server(server); ok {
		h.lore.Changed(s.Hash, catalogue.Any)
	}
}

func changedBy(method string) []catalogue.Kind {
	switch method {
	case "notifications/tools/list_changed":
		return []catalogue.Kind{catalogue.Tools}
	case "notifications/prompts/list_changed":
		return []catalogue.Kind{catalogue.Prompts}
	case "notifications/resources/list_changed":
		return []catalogue.Kind{catalogue.Resources, catalogue.Templates}
	}
	return nil
}

// subscribeSeveral merges subscriptions/listen streams (2026-07-28, subscriptions): each server is asked for what it can tell, under the caller's
// own request id.
func (h *Handler) subscribeSeveral(x *exchange) error {
	if !acceptsEvents(x.in.Header) {
		return eventsOnly()
	}
	if err := h.permit(x); err != nil {
		return err
	}
	h.adopt(x)
	want, err := message.ReadListen(x.body, &x.env)
	if err != nil {
		return err
	}
	shares := h.split(x, want)
	x.hear(shares)
	return h.stay(x, func(ctx context.Context) error {
		f := h.funnel(ctx, x)
		defer f.Close()
		for _, l := range shares {
			f.Add(l.member.Server.Name, func(ctx context.Context) (gather.Events, error) { return l.listen(ctx) })
		}
		return h.relayListen(x, f, want)
	})
}

// split gives each server its part of what is to be listened to: lists of all, and resources of their owner.
func (h *Handler) split(x *exchange, want message.Listen) []*streamLeg {
	of := map[string][]string{}
	for _, wrapped := range want.URIs {
		if m, uri, ok := x.scope.Resource(wrapped); ok {
			of[m.Server.Name] = append(of[m.Server.Name], uri)
		}
	}
	var out []*streamLeg
	for _, m := range x.scope.Members() {
		part := message.Listen{Tools: want.Tools, Prompts: want.Prompts && !m.Access.ToolsOnly(), Resources: want.Resources && !m.Access.ToolsOnly(),
			URIs: of[m.Server.Name]}
		if !part.Tools && !part.Prompts && !part.Resources && len(part.URIs) == 0 {
			continue
		}
		l := h.newStreamLeg(x, &m)
		l.call.MCPMethod = x.rec.Method
		l.call.Body = message.ReplaceListen(nil, x.body, &x.env, part)
		out = append(out, l)
	}
	return out
}

// relayListen acknowledges what was asked for and brings what the servers tell, without their own acknowledgements and ends.
func (h *Handler) relayListen(x *exchange, f *gather.Funnel, want message.Listen) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	x.ans = message.AppendAcknowledged(x.ans[:0], x.id(), want)
	if err := h.pass(x); err != nil {
		return nil
	}
	for {
		x.shed()
		server, event, err := f.Next()
		switch {
		case errors.Is(err, gather.ErrGap):
			h.missed(x, server)
			continue
		case err != nil && x.in.Context.Err() != nil:
			return nil
		case err != nil && drained(x.ctx):
			x.farewell(false)
			return nil
		case err != nil:
			return err
		}
		x.ans = append(x.ans[:0], event...)
		if !x.isMCP() || message.IsResponse(x.data) || message.Method(x.data) == "notifications/subscriptions/acknowledged" {
			continue
		}
		if err := x.dress(server, 0, "", "", nil); err != nil {
			return err
		}
		h.changed(x, server)
		if err := h.pass(x); err != nil && x.in.Context.Err() == nil {
			return err
		}
	}
}
