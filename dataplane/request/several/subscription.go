package several

import (
	"bytes"
	"context"
	"errors"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// Subscription is the subscriptions/listen streams (2026-07-28, subscriptions) of several servers as one: each is asked for what it can tell, under
// the caller's own request id, without their own acknowledgements and ends. One goroutine uses it. Close it.
type Subscription struct {
	merged
	want   message.Listen // as far as there is somebody who could tell it
	accord *accord        // nil when it was told
	ours   [][]byte       // events of our own that are due
	early  []heard        // what servers said before the accord
}

// Subscribe prepares the streams of what the caller wants.
func (s *Servers) Subscribe(r *Request) (*Subscription, error) {
	want, err := message.ReadListen(r.Body, r.Env)
	if err != nil {
		return nil, err
	}
	sub := &Subscription{merged: merged{s: s, r: r, skip: acknowledged}}
	sub.split(want)
	return sub, nil
}

// split gives each server its part of what is to be listened to: lists of all, and resources of their owner.
func (s *Subscription) split(want message.Listen) {
	of := map[string][]string{}
	r, honoured := s.r, &s.want
	for _, wrapped := range want.URIs {
		if m, uri, ok := r.Scope.Resource(wrapped); ok {
			of[m.Server.Name] = append(of[m.Server.Name], uri)
			honoured.URIs = append(honoured.URIs, wrapped)
		}
	}
	for _, m := range r.Scope.Members() {
		all := r.Scope.Toolset == nil && !m.Access.ToolsOnly()
		part := message.Listen{Tools: want.Tools, Prompts: want.Prompts && all, Resources: want.Resources && all, URIs: of[m.Server.Name]}
		if !part.Tools && !part.Prompts && !part.Resources && len(part.URIs) == 0 {
			continue
		}
		honoured.Tools, honoured.Prompts = honoured.Tools || part.Tools, honoured.Prompts || part.Prompts
		honoured.Resources = honoured.Resources || part.Resources
		l := s.s.cfg.Legs.Stream(&r.Request, &m, r.Record.Method)
		l.Call.Body = message.ReplaceListen(nil, r.Body, r.Env, part)
		s.shares = append(s.shares, share{l, part})
	}
}

// Copies is the size of the caller's message in all copies that servers get, which are kept for as long as the stream lasts, in bytes.
func (s *Subscription) Copies() (n int64) {
	for i := range s.shares {
		n += int64(len(s.shares[i].Call.Body))
	}
	return n
}

// Open opens the streams, until ctx ends.
func (s *Subscription) Open(ctx context.Context) {
	s.pour(ctx, func(l *leg.Stream) opener { return heralding(l.Open) })
	s.accord = newAccord(s.shares, s.want)
}

// Next waits for the next event and brings it, in dst or a buffer of its own: first the acknowledgement, when each server has acknowledged its
// part, has failed or has had its time. ours: it is our own word, without which the stream is worth no fault. gather.ErrClosed: the context ended.
func (s *Subscription) Next(dst []byte) (event []byte, ours bool, err error) {
	s.e.Raw = dst
	if a := s.accord; a != nil {
		s.accord = nil
		if !a.reach(s.f) {
			return s.out(), false, gather.ErrClosed
		}
		s.ours, s.early = append(s.ours, message.AppendAcknowledged(nil, s.r.id(), a.honoured())), a.early
		if a.missed {
			s.missed()
		}
	}
	for {
		if len(s.ours) > 0 {
			event, s.ours = s.ours[0], s.ours[1:]
			return s.hand(event), true, nil
		}
		server, event, err := s.heard()
		switch {
		case errors.Is(err, gather.ErrQuiet):
			s.ours = s.news.take()
		case errors.Is(err, gather.ErrGap):
			s.missed()
		case err != nil:
			return s.out(), false, err
		case !bytes.Equal(event, failedFirst) && s.hear(&session.Upstream{Server: server}, event, nil):
			return s.out(), false, nil
		}
	}
}

// heard is the next event, one of those that came early first.
func (s *Subscription) heard() (server string, event []byte, err error) {
	if len(s.early) > 0 {
		h := s.early[0]
		s.early = s.early[1:]
		return h.server, h.event, nil
	}
	s.early = nil
	return s.next()
}

// missed has the caller told that lists may have changed, when the stream of a server stands again: what it said meanwhile is lost.
func (s *Subscription) missed() {
	for _, list := range [...]struct {
		name string
		told bool
	}{{"tools", s.want.Tools}, {"prompts", s.want.Prompts}, {"resources", s.want.Resources}} {
		if list.told {
			s.ours = append(s.ours, message.AppendListChanged(nil, s.r.id(), list.name))
		}
	}
}
