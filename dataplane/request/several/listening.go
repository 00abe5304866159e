package several

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// firstWait is how long a merged stream waits for those of servers that keep state in sessions, before it begins.
const firstWait = 2 * time.Second

// Listening is the standalone GET streams (MCP 2025-03-26 to 2025-11-25) of the servers of which the caller holds sessions, as one. One goroutine
// uses it. Close it.
type Listening struct {
	merged
	ctx     context.Context
	end     context.CancelCauseFunc
	places  []session.Position // where each of the streams stands
	waiting [][]byte           // events that are due
}

// Listen prepares the streams of the session, or of those servers that the caller's last event names, each from its place on if it has one. nil:
// there is none.
func (s *Servers) Listen(r *Request, resume []session.Position) *Listening {
	l := &Listening{merged: merged{s: s, r: r}}
	for i := range r.Session.Upstreams {
		u := &r.Session.Upstreams[i]
		m, ok := r.Scope.Member(u.Server)
		if !ok || u.ID == "" {
			continue
		}
		place, named := placeOf(u.Server, resume)
		if !named {
			continue
		}
		stream := s.cfg.Legs.Stream(&r.Request, &m, "")
		stream.Call.LastEventID = place
		l.shares = append(l.shares, share{Stream: stream})
		l.places = append(l.places, session.Position{Server: u.Server, ID: place}) // "" is a stream's present
	}
	if len(l.shares) == 0 {
		return nil
	}
	return l
}

// placeOf is the place at which a server's stream begins, and false when it isn't to be heard.
func placeOf(server string, resume []session.Position) (place string, named bool) {
	named = len(resume) == 0
	for _, p := range resume {
		if p.Server == server {
			place, named = p.ID, true
		}
	}
	return place, named
}

// Open opens the streams, until ctx ends, and waits for the first answers of the servers that keep state in sessions: when one of them has lost
// the caller's, all of it is lost.
func (l *Listening) Open(ctx context.Context) error {
	l.ctx, l.end = context.WithCancelCause(ctx)
	for _, s := range l.shares {
		s.Lost = func(server string) { l.end(bereft(server)) }
	}
	l.pour(l.ctx, func(s *leg.Stream) opener { return s.Open })
	patience := time.NewTimer(firstWait)
	defer patience.Stop()
	for _, s := range l.shares {
		if !s.Member.Server.NeedsSession {
			continue
		}
		select {
		case <-s.Tried():
		case <-patience.C:
			return nil
		case <-l.ctx.Done():
		}
		var server bereft
		if errors.As(context.Cause(l.ctx), &server) {
			return Without(string(server))
		}
	}
	return nil
}

// Next waits for the next event and brings it, in dst or a buffer of its own. io.EOF: a session that is needed is lost; the client comes back, and
// is told. gather.ErrClosed: the context ended.
func (l *Listening) Next(dst []byte) (event []byte, err error) {
	l.e.Raw = dst
	for {
		if len(l.waiting) > 0 {
			event, l.waiting = l.waiting[0], l.waiting[1:]
			return l.hand(event), nil
		}
		server, event, err := l.next()
		switch {
		case errors.Is(err, gather.ErrQuiet):
			l.waiting = l.news.take()
		case errors.Is(err, gather.ErrGap): // the catalogue listens by itself, and these revisions have no word for it
		case err != nil && l.bereaved():
			return l.out(), io.EOF
		case err != nil:
			return l.out(), err
		default:
			from, _ := l.r.Session.Of(server)
			if l.hear(&from, event, &l.places) {
				return l.out(), nil
			}
		}
	}
}

// Close ends the streams.
func (l *Listening) Close() {
	l.merged.Close()
	if l.end != nil {
		l.end(nil)
	}
}

// bereft is the server whose lost session ends a merged stream.
type bereft string

// Error makes it a cause for a context to end.
func (b bereft) Error() string {
	return "the server " + string(b) + " has lost a session that is needed"
}

// bereaved reports whether a lost session has ended the stream.
func (l *Listening) bereaved() bool {
	var b bereft
	return errors.As(context.Cause(l.ctx), &b)
}
