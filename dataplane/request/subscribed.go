package request

import (
	"bytes"
	"context"
	"errors"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// subscribeSeveral merges subscriptions/listen streams (2026-07-28, subscriptions): each server is asked for what it can tell, under the caller's
// own request id.
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
	want, err := message.ReadListen(x.body, &x.env)
	if err != nil {
		return err
	}
	shares, want := h.split(x, want)
	if err := h.weigh(x, shares); err != nil {
		return err
	}
	x.hear(shares)
	return h.stay(x, func(ctx context.Context) error {
		f := h.pour(ctx, x, shares, heralding)
		defer f.Close()
		return h.relayListen(x, f, newAccord(shares, want), want)
	})
}

// split gives each server its part of what is to be listened to: lists of all, and resources of their owner. honoured is what there is somebody for
// who could tell it.
func (h *Handler) split(x *exchange, want message.Listen) (shares []*streamLeg, honoured message.Listen) {
	of := map[string][]string{}
	for _, wrapped := range want.URIs {
		if m, uri, ok := x.scope.Resource(wrapped); ok {
			of[m.Server.Name] = append(of[m.Server.Name], uri)
			honoured.URIs = append(honoured.URIs, wrapped)
		}
	}
	for _, m := range x.scope.Members() {
		all := x.scope.Toolset == nil && !m.Access.ToolsOnly()
		part := message.Listen{Tools: want.Tools, Prompts: want.Prompts && all, Resources: want.Resources && all, URIs: of[m.Server.Name]}
		if !part.Tools && !part.Prompts && !part.Resources && len(part.URIs) == 0 {
			continue
		}
		honoured.Tools, honoured.Prompts = honoured.Tools || part.Tools, honoured.Prompts || part.Prompts
		honoured.Resources = honoured.Resources || part.Resources
		l := h.newStreamLeg(x, &m)
		l.call.MCPMethod, l.part = x.rec.Method, part
		l.call.Body = message.ReplaceListen(nil, x.body, &x.env, part)
		shares = append(shares, l)
	}
	return shares, honoured
}

// tellMissed tells the caller that lists may have changed, when the stream of a server stands again: what it said meanwhile is lost.
func (h *Handler) tellMissed(x *exchange, want message.Listen) error {
	for _, list := range [...]struct {
		name string
		told bool
	}{{"tools", want.Tools}, {"prompts", want.Prompts}, {"resources", want.Resources}} {
		if !list.told {
			continue
		}
		x.ans = message.AppendListChanged(x.ans[:0], x.id(), list.name)
		if err := h.pass(x); err != nil {
			return err
		}
	}
	return nil
}

// relayListen acknowledges what of it is listened to and brings what the servers tell, without their own acknowledgements and ends.
func (h *Handler) relayListen(x *exchange, f *gather.Funnel, a *accord, want message.Listen) error {
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	h.opened(x)
	defer x.closed()
	if !a.reach(f) {
		return h.endListen(x)
	}
	x.ans = message.AppendAcknowledged(x.ans[:0], x.id(), a.honoured())
	if err := h.pass(x); err != nil {
		return nil
	}
	if a.missed {
		if err := h.tellMissed(x, want); err != nil {
			return nil
		}
	}
	var n news
	for _, e := range a.early {
		if err := h.tellHeard(x, &n, e.server, e.event); err != nil {
			return err
		}
	}
	a.early = nil
	for {
		x.shed()
		server, event, err := n.next(f)
		switch {
		case errors.Is(err, gather.ErrQuiet):
			if err := n.tell(h, x); err != nil {
				return nil
			}
			continue
		case errors.Is(err, gather.ErrGap):
			if err := h.tellMissed(x, want); err != nil {
				return nil
			}
			continue
		case err != nil && (x.in.Context.Err() != nil || drained(x.ctx)):
			return h.endListen(x)
		case err != nil:
			return err
		}
		if err := h.tellHeard(x, &n, server, event); err != nil {
			return err
		}
	}
}

// endListen ends the stream on our own account, unless it was the caller who left.
func (h *Handler) endListen(x *exchange) error {
	if x.in.Context.Err() == nil && drained(x.ctx) {
		x.farewell(false)
	}
	return nil
}

// tellHeard brings one event of a server.
func (h *Handler) tellHeard(x *exchange, n *news, server string, event []byte) error {
	x.ans = append(x.ans[:0], event...)
	if bytes.Equal(event, failedFirst) || !x.isMCP() || x.stray(never) || !x.plain() || message.Method(x.data) == acknowledged {
		return nil
	}
	if err := x.dress(server, 0, "", "", nil); err != nil {
		h.dropped(server, err)
		return nil
	}
	h.changed(x, server)
	if n.keep(x.ans, x.data) {
		return nil
	}
	if err := h.pass(x); err != nil && x.in.Context.Err() == nil {
		return err
	}
	return nil
}
