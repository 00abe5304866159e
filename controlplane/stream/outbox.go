package stream

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// advance starts what can be started: one message at a time, and no update before the last one was answered; mu is held.
func (s *session) advance() {
	for !s.sending && !s.closed {
		if len(s.queue) == 0 && s.flight == nil && s.news {
			s.news = false
			s.offer()
		}
		if len(s.queue) == 0 && s.due { // not before: what waits in the ledger is merged there
			s.due = false
			s.takeShares()
		}
		if len(s.queue) == 0 {
			s.queue = nil
			s.rest()
			return
		}
		m := s.queue[0]
		s.queue = s.queue[1:]
		s.post(m)
	}
}

// post sends a message; mu is held.
func (s *session) post(m message) {
	n := m.size()
	s.sent += n
	if s.sent-s.proven <= inlineMost {
		s.posted(s.send(m))
		return
	}
	s.sending = true
	s.expire(time.Now().Add(s.server.cfg.SendTimeout))
	s.server.wg.Go(func() {
		err := s.send(m)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sending = false
		if s.posted(err); err == nil {
			s.advance()
		}
	})
}

// posted takes in how a send ended; mu is held.
func (s *session) posted(err error) {
	if err != nil {
		s.closed = true
		s.end(err)
	}
}

// takeShares queues what the ledger has for this data plane.
func (s *session) takeShares() {
	for _, m := range s.shares.Take() {
		s.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Shares{Shares: m}})
	}
}

// rest sets the timer for when nothing is being sent.
func (s *session) rest() {
	if s.flight == nil {
		s.expire(time.Time{})
		return
	}
	if s.flight.sentAt.IsZero() {
		s.flight.sentAt, s.flight.end = time.Now(), s.sent
		s.flight.observeSent(s.server)
	}
	s.expire(s.flight.sentAt.Add(s.server.cfg.AckTimeout))
}

// expire sets when the stream ends unless something happens; zero: not by itself. The timer is only ever set earlier: one that fires too early
// is set anew, which costs less than setting it with every update; mu is held.
func (s *session) expire(at time.Time) {
	s.deadline = at
	if !at.IsZero() && (s.armed.IsZero() || at.Before(s.armed)) {
		s.armed = at
		s.timer.Reset(time.Until(at))
	}
}

// stalled says why the stream ends when the timer fires; nil when that isn't due.
func (s *session) stalled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = time.Time{}
	switch {
	case s.deadline.IsZero() || time.Now().Before(s.deadline):
		s.expire(s.deadline)
		return nil
	case s.sending:
		return status.Errorf(codes.Aborted, "the data plane took nothing for %s; connect anew", s.server.cfg.SendTimeout)
	}
	return status.Errorf(codes.Aborted, "update %d was not answered within %s; connect anew", s.flight.nonce, s.server.cfg.AckTimeout)
}
