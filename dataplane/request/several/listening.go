package several

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
)

// firstWait is how long a merged stream waits, before it begins, for those of servers that keep state in sessions, and for a first one that stands.
const firstWait = 2 * time.Second

// Listening is the standalone GET streams (MCP 2025-03-26 to 2025-11-25) of the servers of which the caller holds sessions, as one. One goroutine
// uses it. Close it.
type Listening struct {
	merged
	ctx     context.Context
	end     context.CancelCauseFunc
	places  []session.Position // where each of the streams stands
	waiting [][]byte           // events that are due
	aside   Request            // r, for what happens while the stream stands
	firsts  chan first         // what came of the first attempt of each stream

	mu   sync.Mutex
	mute int  // streams that won't come; guarded by mu
	lost bool // one of them was answered 404; guarded by mu
}

// first is what came of the first attempt of a stream.
type first struct {
	needed bool // its server keeps state in sessions
	speaks bool // it stands, or may later
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

// Open opens the streams, until ctx ends, and waits until one of them stands and those of the servers that keep state in sessions were tried. When
// one of these has lost the caller's, or all have theirs, all of it is lost.
func (l *Listening) Open(ctx context.Context) error {
	l.ctx, l.end = context.WithCancelCause(ctx)
	l.firsts = make(chan first, len(l.shares))
	l.aside = *l.r
	l.aside.Request = l.s.cfg.Legs.Aside(&l.r.Request)
	needed := 0
	for _, s := range l.shares {
		of := s.Member.Server
		s.Tried = func(first bool, err error) { l.tried(of, first, err) }
		if of.NeedsSession {
			needed++
		}
	}
	l.pour(l.ctx, func(s *leg.Stream) opener { return s.Open })
	patience := time.NewTimer(firstWait)
	defer patience.Stop()
	speaks := false
	for left := len(l.shares); left > 0 && (needed > 0 || !speaks); left-- {
		select {
		case f := <-l.firsts:
			speaks = speaks || f.speaks
			if f.needed {
				needed--
			}
		case <-patience.C:
			return nil
		case <-l.ctx.Done():
			return l.bereft()
		}
	}
	return l.bereft()
}

// tried takes in what came of an attempt to open a server's stream, in the goroutine of that stream. A session that the server keeps state in ends
// the whole stream when it is lost, and so does the last one that was left, so that the client comes back and is told.
func (l *Listening) tried(of *table.Server, begun bool, err error) {
	lost, mute := hop.SessionLost(err), gather.ForGood(err)
	switch {
	case lost && of.NeedsSession && l.gone(func(server string) bool { return server == of.Name }):
		l.end(bereft(of.Name))
	case mute && l.last(lost) && !l.r.Elsewhere && l.gone(func(string) bool { return true }):
		l.end(bereft(""))
	case lost:
		l.s.cfg.Log.Info("a merged stream goes on without a server that doesn't know its session any more", "server", of.Name)
	}
	if begun {
		l.firsts <- first{needed: of.NeedsSession, speaks: !mute}
	}
}

// last notes a stream that won't come, and reports whether no other one can, and a session seems lost.
func (l *Listening) last(lost bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute++
	l.lost = l.lost || lost
	return l.mute == len(l.shares) && l.lost
}

// gone finds out whether nothing is left of the caller's session at some servers. All of them are asked, also those that aren't listened to and those
// that have just answered 404 to GET: some have no streams at all, and say so with that.
func (l *Listening) gone(at func(server string) bool) bool {
	aside := l.aside
	aside.Request = l.s.cfg.Legs.Aside(&l.aside.Request)
	defer l.s.cfg.Legs.Told(&aside.Request)
	by, err := l.s.left(l.ctx, &aside, func(server string) bool { return !at(server) })
	return err == nil && by == ""
}

// Next waits for the next event and brings it, in dst or a buffer of its own. io.EOF: a session that is needed is lost, or all are; the client comes
// back, and is told. gather.ErrClosed: the context ended.
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
		case err != nil && l.bereft() != nil:
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
	if l.end != nil {
		l.end(nil) // at first: streams may be asking for their sessions
	}
	l.merged.Close()
}

// bereft is the server whose lost session ends a merged stream; empty: all have lost theirs.
type bereft string

// Error makes it a cause for a context to end.
func (b bereft) Error() string {
	if b == "" {
		return "all servers have lost their sessions"
	}
	return "the server " + string(b) + " has lost a session that is needed"
}

// bereft is the fault for a lost session that has ended the stream; nil: none has.
func (l *Listening) bereft() error {
	var b bereft
	switch {
	case !errors.As(context.Cause(l.ctx), &b):
		return nil
	case b == "":
		return Ended()
	}
	return Without(string(b))
}
