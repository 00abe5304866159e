package sse

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// request sends a request and waits for the first message that comes for it.
func (s *session) request(ctx context.Context, c *Call, way Way, e *message.Envelope) (Answer, error) {
	limits := c.Server.Timeouts
	p, body, ok := s.enlist(c, e)
	if !ok {
		return unknown(c.Body, e), nil
	}
	b := &events{session: s, p: p, ctx: ctx, timing: c.Timing, idle: limits.Idle, total: limits.Total}
	began := time.Now()
	if limits.Total > 0 {
		b.by = began.Add(limits.Total)
	}
	if !s.send(ctx, p, way, body) {
		b.Close()
		return Answer{}, stopping(s.server)
	}
	first, err := s.first(ctx, p, b.within(limits.FirstByte), e.MethodString(c.Body) == "initialize")
	s.timed(c, p, began)
	if err != nil {
		a, err := s.refused(p, err, b.late(fault.Headers, limits.FirstByte, "first_byte"))
		if err != nil {
			b.Close()
			c.Timing.End = time.Now()
			return Answer{}, err
		}
		a.Body = &direct{Body: a.Body, done: b.Close}
		return a, nil
	}
	a := Answer{Status: http.StatusOK, Instance: s.instance}
	if !first.response {
		b.ahead = &first
		a.Type, a.Body = transport.SSE, b
		return a, nil
	}
	data, _ := message.Data(nil, first.event)
	if c.Session == "" && !message.IsError(data) {
		a.Session = s.id
	}
	a.Type, a.Body = transport.JSON, &direct{Body: &whole{data: data, length: int64(len(data)), server: s.server}, done: b.Close}
	c.Timing.End = c.Timing.First
	return a, nil
}

// first waits for the first message for a request; alone: for the response.
func (s *session) first(ctx context.Context, p *pending, limit time.Duration, alone bool) (item, error) {
	for {
		i, err := s.next(ctx, &p.queue, p, nil, limit)
		if err != nil {
			return i, err
		}
		if i.response || !alone {
			s.mu.Lock()
			p.begun = true
			s.mu.Unlock()
			return i, nil
		}
	}
}

// send POSTs a request without waiting for the end of that: some servers answer the POST when they are done with the request only, and some
// answer the request first. The goroutine ends with the exchange, the request's caller unless the response is there, or the session.
func (s *session) send(ctx context.Context, p *pending, way Way, body []byte) bool {
	own, cancel := context.WithCancel(s.ctx)
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !p.done {
			cancel()
		}
	})
	p.cancel = cancel
	began := s.hub.run(func() {
		defer cancel()
		defer stop()
		r, err := way.Post(own, s.instance, s.endpoint, body)
		s.posted(p, &r, err)
	})
	if !began {
		stop()
		cancel()
	}
	return began
}

// posted notes how the POST of a request went.
func (s *session) posted(p *pending, r *Reply, err error) {
	if err == nil {
		r.keepRefusal()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer nudge(p.wake)
	p.posted = r
	if err != nil {
		if fault.As(err) != nil && !p.begun && !p.done { // any other is the end of the caller's wait, or of the session
			p.failed = err
		}
		return
	}
	refused := r.Status/100 != 2
	if p.left || refused && (p.begun || p.done) {
		r.Done()
		return
	}
	p.release = r.Done
	if refused {
		p.refused = r
	}
}

// keepRefusal ends an exchange, and keeps what the server said if it refused.
func (r *Reply) keepRefusal() {
	var data []byte
	if r.Status/100 != 2 {
		data, _ = r.Body.ReadAll(nil, refusalLimit) //nolint:errcheck // half a page tells as much
	}
	r.Body.Close()
	r.Body = &whole{data: data, length: int64(len(data))}
}

// timed makes the timing of a request from that of its POST, as far as it is known, and the coming of the first message.
func (s *session) timed(c *Call, p *pending, began time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	*c.Timing = telemetry.Timing{Reused: true, Remote: s.remote}
	if p.posted != nil {
		*c.Timing, c.Attempts = p.posted.Timing, max(c.Attempts, p.posted.Attempts)
	}
	c.Timing.Start, c.Timing.Headers, c.Timing.First = began, now, now
	if c.Timing.Sent.IsZero() {
		c.Timing.Sent = began // at once, over a connection that was there
	}
}

// refused turns the end of a wait into the caller's words: the server's own refusal is an answer.
func (s *session) refused(p *pending, err error, late *fault.Error) (Answer, error) {
	switch {
	case errors.Is(err, errLate):
		return Answer{}, late
	case !errors.Is(err, errRefused):
		return Answer{}, err
	}
	s.mu.Lock()
	r := p.refused
	s.mu.Unlock()
	if r.Status == http.StatusNotFound {
		s.end(ended(s.server))
	}
	return Answer{Status: r.Status, Header: r.Header, Type: r.Type, Instance: s.instance, Body: r.Body}, nil
}

// leave ends a request's part in the session.
func (s *session) leave(p *pending) {
	s.mu.Lock()
	s.forget(p)
	p.left = true
	s.waiting.add(-p.n, -p.bytes)
	p.items, p.amount = nil, amount{}
	nudge(s.room)
	s.touch()
	release, cancel := p.release, p.cancel
	p.release = nil
	answered := p.done
	s.mu.Unlock()
	if release != nil {
		release()
	}
	if cancel != nil && !answered {
		cancel()
	}
}
