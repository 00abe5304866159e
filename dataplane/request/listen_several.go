package request

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// Long-lived streams of endpoints of several servers. What an event of theirs resumes: one place is the stream of one server, mostly that of a
// call's answer, and goes on as it would on that server's own endpoint; the merged stream names all its servers, those without event ids, too, so
// that all are heard again.

// listenSeveral merges the standalone GET streams of the servers whose sessions the caller holds, or resumes broken ones at the places that the
// caller's last event names.
func (h *Handler) listenSeveral(x *exchange) error {
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
	r := x.asked()
	l := h.several.Listen(&r, resume)
	if l == nil { // nothing of what it names is in this session
		l = h.several.Listen(&r, nil)
	}
	if l == nil { // none of the servers has a session, and with it a stream
		return x.wrongMethod("POST, DELETE")
	}
	x.hears = l.Members()
	return h.stay(x, func(ctx context.Context) error {
		defer l.Close()
		if err := l.Open(ctx); err != nil {
			return err
		}
		return h.relayMerged(x, func(dst []byte) ([]byte, bool, error) {
			event, err := l.Next(dst)
			return event, false, err
		})
	})
}

// ofOne tells whose stream is resumed, when it is that of one server of which the caller holds a session.
func (x *exchange) ofOne(resume []session.Position) (m route.Member, ok bool) {
	if len(resume) != 1 || resume[0].ID == "" {
		return m, false
	}
	u, live := x.many.Of(resume[0].Server)
	if !live || u.ID == "" {
		return m, false
	}
	return x.scope.Member(resume[0].Server)
}

// resumeOne goes on with the stream of one server. It ends where the server ends it.
func (h *Handler) resumeOne(x *exchange, m *route.Member, id string) error {
	if err := h.direct(x, m); err != nil {
		return err
	}
	x.hears = append(x.hears, *m)
	x.call.LastEventID = id
	h.trace(x)
	return h.lasting(x)
}

// subscribeSeveral merges subscriptions/listen streams (2026-07-28, subscriptions).
func (h *Handler) subscribeSeveral(x *exchange) error {
	if !acceptsEvents(x.in.Header) {
		return eventsOnly()
	}
	if err := h.permit(x); err != nil {
		return err
	}
	if err := h.spread(x); err != nil {
		return err
	}
	r := x.asked()
	s, err := h.several.Subscribe(&r)
	if err != nil {
		return err
	}
	if err := h.weigh(x, s.Copies()); err != nil {
		return err
	}
	x.hears = s.Members()
	return h.stay(x, func(ctx context.Context) error {
		s.Open(ctx)
		defer s.Close()
		return h.relayMerged(x, s.Next)
	})
}

// relayMerged brings the events of several servers' streams, as next brings them, to the caller. When we end a stream that a request asked for,
// the request is answered. ours: the event is our own word, and nothing went wrong when nobody is there to hear it.
func (h *Handler) relayMerged(x *exchange, next func(dst []byte) (event []byte, ours bool, err error)) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	for {
		x.shed()
		var ours bool
		var err error
		x.ans, ours, err = next(x.ans)
		switch {
		case errors.Is(err, io.EOF), err != nil && x.in.Context.Err() != nil:
			return nil
		case err != nil && drained(x.ctx):
			x.farewell(len(x.id()) == 0)
			return nil
		case err != nil:
			return err
		}
		switch err := h.pass(x); {
		case err != nil && ours:
			return nil
		case err != nil && x.in.Context.Err() == nil:
			return err
		}
	}
}
