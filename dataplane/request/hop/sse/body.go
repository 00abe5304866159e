package sse

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// events is the answer to a request of which more than the response comes.
type events struct {
	session *session
	p       *pending
	ctx     context.Context
	timing  *telemetry.Timing
	idle    time.Duration
	total   time.Duration
	by      time.Time // end of the whole call; zero: none
	ahead   *item
	over    bool
	rest    []byte
}

// within is how long a step may take; 0: as long as it takes. What is over already gets a moment.
func (b *events) within(step time.Duration) time.Duration {
	if b.by.IsZero() {
		return step
	}
	left := max(time.Until(b.by), time.Millisecond)
	if step <= 0 {
		return left
	}
	return min(step, left)
}

// late is the fault when a step's time, or that of the whole call, is over.
func (b *events) late(phase fault.Phase, step time.Duration, option string) *fault.Error {
	if !b.by.IsZero() && !time.Now().Before(b.by) {
		step, option = b.total, "total"
	}
	return unanswered(b.session.server, phase, step, option)
}

// NextEvent appends the next message for the request; behind the response there is none.
func (b *events) NextEvent(dst []byte, limit int64) ([]byte, error) {
	if b.over {
		return dst, io.EOF
	}
	i, err := b.take()
	if err != nil {
		b.over = true
		b.timing.End = time.Now()
		if errors.Is(err, errLate) {
			err = b.late(fault.Stream, b.idle, "idle")
		}
		return dst, err
	}
	if i.response {
		b.over = true
		b.timing.End = time.Now()
	}
	return appendEvent(dst, i.event, limit, b.session.server)
}

func (b *events) take() (item, error) {
	if b.ahead != nil {
		i := *b.ahead
		b.ahead = nil
		return i, nil
	}
	return b.session.next(b.ctx, &b.p.queue, b.p, nil, b.within(b.idle))
}

// Read reads on.
func (b *events) Read(p []byte) (int, error) {
	s := stream{next: b.NextEvent, rest: b.rest}
	n, err := s.Read(p)
	b.rest = s.rest
	return n, err
}

// ReadAll appends what comes.
func (b *events) ReadAll(dst []byte, limit int64) ([]byte, error) {
	return (&stream{next: b.NextEvent}).ReadAll(dst, limit)
}

// Length isn't known.
func (b *events) Length() int64 { return -1 }

// Close ends the request.
func (b *events) Close() {
	finish(b.timing)
	b.over = true
	b.session.leave(b.p)
}

// listener is the answer to GET: what belongs to no request.
type listener struct {
	session *session
	ctx     context.Context
	gone    chan struct{} // closed when another took its place
	timing  *telemetry.Timing
	rest    []byte
}

// NextEvent appends the next message. It ends with the session, or when another stream of the session is opened.
func (l *listener) NextEvent(dst []byte, limit int64) ([]byte, error) {
	s := l.session
	i, err := s.next(l.ctx, &s.general, nil, l.gone, 0)
	switch {
	case errors.Is(err, errOver), s.cleanly(err):
		return dst, io.EOF
	case err != nil:
		return dst, err
	}
	if l.timing.First.IsZero() {
		l.timing.First = time.Now()
	}
	return appendEvent(dst, i.event, limit, s.server)
}

// cleanly reports whether the session has ended as sessions do: the server closed its stream, or the caller's side ended it.
func (s *session) cleanly(err error) bool {
	if err == nil || fault.As(err) == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fault.As(s.err)
	return s.over && (errors.Is(s.err, io.EOF) || f != nil && f.Phase == fault.Session)
}

// Read reads on.
func (l *listener) Read(p []byte) (int, error) {
	s := stream{next: l.NextEvent, rest: l.rest}
	n, err := s.Read(p)
	l.rest = s.rest
	return n, err
}

// ReadAll appends what comes.
func (l *listener) ReadAll(dst []byte, limit int64) ([]byte, error) {
	return (&stream{next: l.NextEvent}).ReadAll(dst, limit)
}

// Length isn't known.
func (l *listener) Length() int64 { return -1 }

// Close ends the stream; the session goes on.
func (l *listener) Close() {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == l {
		s.listener = nil
		s.touch()
	}
	finish(l.timing)
}
