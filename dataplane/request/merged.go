package request

import (
	"context"
	"errors"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
)

// listenSeveral merges the standalone GET streams of the servers whose sessions the caller holds, or resumes broken ones at the places that the
// caller's last event names.
func (h *Handler) listenSeveral(x *exchange) error {
	if err := x.headersOnly(); err != nil {
		return err
	}
	if x.era == message.Modern {
		return x.wrongMethod(http.MethodPost)
	}
	if x.rec.Session == "" {
		return noSession("a stream of several servers belongs to one")
	}
	if owner, elsewhere := h.holder(x); elsewhere {
		return h.stay(x, func(context.Context) error { return h.handTo(x, owner, nil) })
	}
	h.dropAbsent(x)
	if err := h.spread(x); err != nil {
		return err
	}
	var resume []session.Position
	if id := x.in.Header.Get("Last-Event-Id"); id != "" {
		var err error
		if resume, err = session.OpenEvents(x.table.Ring("session"), id, x.principal.ID, x.door.Canonical(), x.now); err != nil {
			return err
		}
	}
	if m, ok := x.ofOne(resume); ok {
		return h.resumeOne(x, &m, resume[0].ID)
	}
	legs := h.streamLegs(x, resume)
	if len(legs) == 0 { // nothing of what it names is in this session
		legs = h.streamLegs(x, nil)
	}
	if len(legs) == 0 { // none of the servers has a session, and with it a stream
		return x.wrongMethod("POST, DELETE")
	}
	x.hear(legs)
	return h.stay(x, func(ctx context.Context) error {
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		x.ctx = ctx
		for _, l := range legs {
			l.bereft = end
		}
		f := h.pour(ctx, x, legs, func(l *streamLeg) opener { return l.listen })
		defer f.Close()
		if err := whole(ctx, legs); err != nil {
			return err
		}
		return h.relayMerged(x, f, placesOf(legs))
	})
}

// hear notes whose streams the caller is about to hear, for when the config changes.
func (x *exchange) hear(legs []*streamLeg) {
	for _, l := range legs {
		x.hears = append(x.hears, l.member)
	}
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

// streamLegs are the streams to open: all of the session, or those that the last event names, each from its place on if it has one.
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
		named := len(resume) == 0
		for _, p := range resume {
			if p.Server == u.Server {
				l.call.LastEventID, named = p.ID, true
			}
		}
		if named {
			out = append(out, l)
		}
	}
	return out
}

// relayMerged brings the events of all streams to the caller. places is where each of them stands.
func (h *Handler) relayMerged(x *exchange, f *gather.Funnel, places []session.Position) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	var n news
	for {
		x.shed()
		server, event, err := n.next(f)
		switch {
		case errors.Is(err, gather.ErrQuiet):
			if err := n.tell(h, x); err != nil && x.in.Context.Err() == nil {
				return err
			}
			continue
		case errors.Is(err, gather.ErrGap): // the catalogue listens by itself, and these revisions have no word for it
			continue
		case err != nil && (x.in.Context.Err() != nil || drained(x.ctx)):
			return nil
		case err != nil && ended(x.ctx):
			return nil // the client comes back, and is told
		case err != nil:
			return err
		}
		x.ans = append(x.ans[:0], event...)
		if !x.isMCP() || x.stray(never) || !x.plain() {
			continue
		}
		if u, ok := upstreamOf(&x.many, server); ok {
			if id := string(message.ID(x.ans)); id != "" {
				places = positions(places, server, id)
			}
			if err := x.dress(server, u.Instance, u.ID, u.Revision, places); err != nil {
				h.dropped(server, err)
				continue
			}
		}
		h.changed(x, server)
		if n.keep(x.ans, x.data) {
			continue
		}
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

// dropped notes an event that can't be told on in the endpoint's names. The streams of the other servers, and what else this one says, go on.
func (h *Handler) dropped(server string, err error) {
	h.cfg.Log.Debug("an event of a server couldn't be passed on", "server", server, "error", err)
}

// changed lets go of cached lists of which the message in x.data says that they have changed.
func (h *Handler) changed(x *exchange, server string) {
	s, ok := h.cfg.Table.Load().Server(server) // as it is configured now: the stream may be older
	if !ok {
		return
	}
	for _, kind := range changedBy(message.Method(x.data)) {
		h.lore.Changed(s.Hash, kind)
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
