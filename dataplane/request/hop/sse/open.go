package sse

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// refusalLimit bounds what is read of a server's refusal to open a stream.
const refusalLimit = 64 << 10

// open begins a session: the stream, the endpoint the server names on it, and initialize.
func (h *Hub) open(ctx context.Context, c *Call, way Way, e *message.Envelope) (Answer, error) {
	s, err := h.reserve(c)
	if err != nil {
		return Answer{}, err
	}
	stop := context.AfterFunc(ctx, s.cancel)
	a, err := s.open(ctx, c, way, e)
	if !stop() && err == nil { // the caller left, and the stream with it
		a.Close()
		err = ctx.Err()
	}
	if err != nil || a.Session == "" {
		s.end(ended(s.server))
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return Answer{}, err
	}
	return a, nil
}

// reserve makes room for a session.
func (h *Hub) reserve(c *Call) (*session, error) {
	server := c.Server.Name
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, stopping(server)
	case h.total >= h.cfg.Most:
		return nil, crowded(server, h.cfg.Most, "in all")
	case h.count[server] >= h.cfg.MostPerServer:
		return nil, crowded(server, h.cfg.MostPerServer, "of the server "+server)
	case c.Principal != "" && h.share[c.Principal] >= h.cfg.MostPerPrincipal:
		return nil, greedy(server, h.cfg.MostPerPrincipal)
	}
	s := &session{hub: h, id: newID(h.owner()), server: server, principal: c.Principal, limit: c.EventLimit,
		room: make(chan struct{}, 1), done: make(chan struct{}), general: newQueue()}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	h.count[server]++
	if s.principal != "" {
		h.share[s.principal]++
	}
	h.total++
	h.sessions[s.id] = s
	return s, nil
}

// remove forgets a session that has ended.
func (h *Hub) remove(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.id)
	h.total--
	if h.count[s.server]--; h.count[s.server] == 0 {
		delete(h.count, s.server)
	}
	if s.principal == "" {
		return
	}
	if h.share[s.principal]--; h.share[s.principal] == 0 {
		delete(h.share, s.principal)
	}
}

// open makes a reserved session one with a stream, and sends initialize. A refusal is an answer without a session.
func (s *session) open(ctx context.Context, c *Call, way Way, e *message.Envelope) (Answer, error) {
	began := time.Now()
	s.way = way
	get, err := way.Get(s.ctx)
	*c.Timing, c.Attempts = get.Timing, get.Attempts
	if err != nil {
		return Answer{}, err
	}
	get.Done()
	if get.Status/100 != 2 || get.Type != transport.SSE {
		get.keepRefusal()
		return s.notOpened(&get)
	}
	if err := s.named(&get, c.Server.Timeouts.FirstByte); err != nil {
		get.Body.Close()
		c.Timing.End = time.Now()
		return Answer{}, err
	}
	if !s.hub.run(func() { s.read(get.Body) }) {
		get.Body.Close()
		return Answer{}, stopping(s.server)
	}
	s.mu.Lock()
	s.timer = time.AfterFunc(s.hub.cfg.Idle, s.expire)
	if s.over {
		s.timer.Stop()
	}
	s.mu.Unlock()
	a, err := s.post(ctx, c, way, e)
	c.Timing.Start = began
	keepDial(c, &get)
	return a, err
}

// keepDial lets the timing of initialize tell how the connection of the stream was made.
func keepDial(c *Call, get *Reply) {
	t, g := c.Timing, &get.Timing
	t.DNSStart, t.DNSDone, t.ConnStart, t.ConnDone, t.TLSStart, t.TLSDone = g.DNSStart, g.DNSDone, g.ConnStart, g.ConnDone, g.TLSStart, g.TLSDone
	t.Reused, t.Remote = g.Reused, g.Remote
}

// notOpened says what a server means that answers GET with anything but a stream. What servers of Streamable HTTP answer to a GET without a
// session is told by its cause; other refusals are the caller's to see.
func (s *session) notOpened(get *Reply) (Answer, error) {
	switch get.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return Answer{}, notStreamed(s.server, get.Status)
	}
	if get.Status/100 == 2 && get.Type != transport.HTML { // a page has a cause of its own
		return Answer{}, notStreamed(s.server, get.Status)
	}
	return Answer{Status: get.Status, Header: get.Header, Type: get.Type, Instance: get.Target.ID, Body: get.Body}, nil
}

// named waits for the event that tells where messages go.
func (s *session) named(get *Reply, within time.Duration) error {
	var late atomic.Bool
	if within > 0 {
		timer := time.AfterFunc(within, func() {
			late.Store(true)
			s.cancel()
		})
		defer timer.Stop()
	}
	var event []byte
	for {
		var err error
		event, err = get.Body.NextEvent(event[:0], s.limit)
		switch {
		case err != nil && late.Load():
			return noEndpoint(s.server, within)
		case err != nil && s.ctx.Err() != nil:
			return stopping(s.server)
		case err != nil:
			return early(err, s.server)
		case eventName(event) != "endpoint":
			continue
		}
		data, _ := message.Data(nil, event)
		s.instance, s.remote = get.Target.ID, get.Timing.Remote
		s.endpoint, err = endpoint(s.server, get.Target, string(data))
		return err
	}
}
