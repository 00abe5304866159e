package sse

import (
	"context"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// post sends a message of the caller's to the session's endpoint. A request's answer comes on the stream.
func (s *session) post(ctx context.Context, c *Call, way Way, e *message.Envelope) (Answer, error) {
	if e.Kind == message.Request {
		return s.request(ctx, c, way, e)
	}
	body := c.Body
	if e.Kind == message.Notification && e.CancelID.Present() && e.MethodString(body) == "notifications/cancelled" {
		body = s.cancelled(body)
	}
	s.mu.Lock()
	s.touch()
	s.mu.Unlock()
	timing := c.Timing
	r, err := way.Post(ctx, s.instance, s.endpoint, body)
	*c.Timing, c.Attempts = r.Timing, r.Attempts
	if err != nil {
		return Answer{}, err
	}
	if r.Status == http.StatusNotFound {
		s.end(ended(s.server))
	}
	return Answer{Status: r.Status, Header: r.Header, Type: r.Type, Instance: s.instance, Body: &direct{Body: r.Body, done: func() {
		r.Done()
		finish(timing)
	}}}, nil
}

// cancelled names the request that a caller takes back as the server knows it.
func (s *session) cancelled(body []byte) []byte {
	out, changed, err := message.ReplaceCancelled(nil, body, func(raw []byte) ([]byte, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		want := keyOf(raw)
		for _, p := range s.pending {
			if keyOf([]byte(p.id)) == want && p.key != want && s.find(want) == nil {
				return []byte(`"` + p.key[1:] + `"`), nil
			}
		}
		return raw, nil
	})
	if err != nil || !changed {
		return body
	}
	return out
}

func finish(t *telemetry.Timing) {
	if t.End.IsZero() {
		t.End = time.Now()
	}
}

// listen answers GET: what belongs to no request, from now on. An earlier stream of the session ends.
func (s *session) listen(ctx context.Context, c *Call) Answer {
	l := &listener{session: s, ctx: ctx, gone: make(chan struct{}), timing: c.Timing}
	now := time.Now()
	*c.Timing = telemetry.Timing{Start: now, Sent: now, Headers: now, Reused: true, Remote: s.remote}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return refusal(http.StatusNotFound, nil, codeSession, "Session not found")
	}
	if s.listener != nil {
		close(s.listener.gone)
	}
	s.listener = l
	s.touch()
	return Answer{Status: http.StatusOK, Type: transport.SSE, Instance: s.instance, Body: l}
}
