package sse

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// take sorts one event. Comments and events that hold no messages are nobody's.
func (s *session) take(event []byte) error {
	data, ok := message.Data(nil, event)
	if !ok || eventName(event) != "message" {
		return nil
	}
	if data[0] == '[' {
		items, err := message.SplitBatch(data, mostWaiting)
		if err != nil {
			return s.broken()
		}
		for _, data := range items {
			if err := s.deliver(message.SetEventData(nil, nil, data), data); err != nil {
				return err
			}
		}
		return nil
	}
	if message.ID(event) != nil {
		event = message.SetEventID(nil, event, "") // nothing of this transport can be resumed
	}
	return s.deliver(event, data)
}

// deliver puts a message where it belongs, and waits while there is no room.
func (s *session) deliver(event, data []byte) error {
	var e message.Envelope
	if message.Scan(data, message.MaxDepth, &e) != nil || e.Kind == message.Batch {
		return s.broken()
	}
	m := &incoming{item: item{event: event, response: e.Kind == message.Response, request: e.Kind == message.Request}, data: data, env: &e}
	if e.Kind == message.Response {
		m.key = keyOf(e.ID.Of(data))
	} else if e.MethodString(data) == "notifications/progress" {
		m.token = keyOf(member(e.Params.Of(data), "progressToken"))
	}
	var timer *time.Timer
	for {
		taken, err := s.place(m)
		if taken || err != nil {
			return err
		}
		if timer == nil {
			timer = time.NewTimer(s.hub.cfg.Stall)
			defer timer.Stop()
		}
		select {
		case <-s.room:
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-timer.C:
			return slow(s.server)
		}
	}
}

// incoming is a message of the server's on its way to a queue.
type incoming struct {
	item
	data       []byte
	env        *message.Envelope
	key, token string
}

// place puts a message into a queue, if there is room. One that nobody waits for is dropped.
func (s *session) place(m *incoming) (taken bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.whose(m)
	switch {
	case p != nil && !s.waiting.fits(len(m.event)):
		return false, nil
	case p != nil:
		s.give(p, m)
		return true, nil
	case m.response:
		return true, nil
	case m.request && s.listener == nil && m.env.MethodString(m.data) == "ping":
		s.pong(m)
		return true, nil
	case s.general.fits(len(m.event)):
	case s.listener != nil:
		return false, nil
	default:
		for !s.general.fits(len(m.event)) {
			if !s.general.drop() {
				return false, unasked(s.server)
			}
		}
	}
	s.general.push(m.item)
	return true, nil
}

// pong answers a server's ping that nobody can hear: it asks whether the session is alive, and it is. With mu held.
func (s *session) pong(m *incoming) {
	if s.pongs >= mostPongs {
		return
	}
	body := message.AppendResult(nil, m.env.ID.Of(m.data), []byte("{}"))
	begun := s.hub.run(func() {
		if r, err := s.way.Post(s.ctx, s.instance, s.endpoint, body); err == nil {
			r.Body.Close()
			r.Done()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pongs--
	})
	if begun {
		s.pongs++
	}
}

// mostPongs bounds the pings of one server that are being answered at once.
const mostPongs = 8

// whose returns the request that a message is for; nil: none. With mu held.
func (s *session) whose(m *incoming) *pending {
	if m.response {
		if m.key == "" && m.env.Error.Present() && len(s.pending) == 1 {
			return s.pending[0] // an error that names no request can only be about this one
		}
		return s.find(m.key)
	}
	for _, p := range s.pending {
		if m.token != "" && p.token == m.token {
			return p
		}
	}
	if s.listener != nil {
		return nil
	}
	for _, p := range s.pending {
		if p.takes {
			return p
		}
	}
	return nil
}

func (s *session) find(key string) *pending {
	for _, p := range s.pending {
		if key != "" && p.key == key {
			return p
		}
	}
	return nil
}

// give puts a message into a request's queue; the response ends the wait for it. With mu held.
func (s *session) give(p *pending, m *incoming) {
	if m.response {
		p.done = true
		s.forget(p)
		if m.key != "" && keyOf([]byte(p.id)) != m.key {
			if data, ok := message.ReplaceID(nil, m.data, []byte(p.id)); ok {
				m.event = message.SetEventData(nil, m.event, data)
			}
		}
	}
	s.waiting.add(1, len(m.event))
	p.push(m.item)
}

// forget takes a request off those that wait. With mu held.
func (s *session) forget(p *pending) {
	for i := range s.pending {
		if s.pending[i] == p {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			return
		}
	}
}

// broken tells the one request under way that its answer can't be read. With several nobody knows whose it was.
func (s *session) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 1 {
		s.pending[0].failed = unreadable(s.server)
		nudge(s.pending[0].wake)
	}
	return nil
}
