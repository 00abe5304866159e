package sse

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
)

// session is one open stream and what belongs to it.
type session struct {
	hub       *Hub
	id        string
	server    string
	principal string // whose it is; empty: nobody's
	instance  uint32
	endpoint  *table.Target // where messages go
	remote    string        // whom the stream is from
	way       Way           // of the call that opened it
	limit     int64         // of an event
	ctx       context.Context
	cancel    context.CancelFunc // ends the stream
	room      chan struct{}      // somebody took a message; capacity 1
	done      chan struct{}      // closed by end

	mu       sync.Mutex
	err      error      // why it ended; guarded by mu until done is closed
	over     bool       // guarded by mu
	pending  []*pending // requests that wait for their response, oldest first; guarded by mu
	waiting  amount     // in the queues of requests; guarded by mu
	general  queue      // what belongs to no request; guarded by mu
	listener *listener  // who reads it; guarded by mu
	renamed  int        // requests that got another id so far; guarded by mu
	pongs    int        // pings being answered; guarded by mu
	timer    *time.Timer
}

// pending is a request under way. Its fields are guarded by session.mu but for those that its maker alone uses.
type pending struct {
	queue
	id, key string // the caller's raw id, and that by which the server knows it
	token   string // of its progress
	takes   bool   // what belongs to no request
	done    bool   // the response is in the queue, or was
	begun   bool   // something was taken out of the queue
	refused *Reply // what the POST was answered, when that isn't 2xx
	failed  error  // why the POST failed
	posted  *Reply // its timing, once it was answered
	release func() // of the exchange's place among the server's calls; nil: not yet, or no more
	left    bool   // nobody waits for it any more
	cancel  context.CancelFunc
}

// end ends the session; the first reason stands.
func (s *session) end(why error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.err = true, why
	if s.timer != nil {
		s.timer.Stop()
	}
	close(s.done)
	s.mu.Unlock()
	s.cancel()
	s.hub.remove(s)
}

// touch puts off the end of a session that isn't used. With mu held.
func (s *session) touch() {
	if !s.over && s.timer != nil {
		s.timer.Reset(s.hub.cfg.Idle)
	}
}

// expire ends the session unless somebody still has to do with it.
func (s *session) expire() {
	s.mu.Lock()
	used := s.listener != nil || len(s.pending) > 0
	if used {
		s.touch()
	}
	s.mu.Unlock()
	if !used {
		s.end(ended(s.server))
	}
}

// read brings what comes on the stream to those who wait for it, until either side ends.
func (s *session) read(stream Body) {
	defer stream.Close()
	for {
		event, err := stream.NextEvent(nil, s.limit)
		if err == nil {
			err = s.take(event)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

var errOver = errors.New("sse: the session is over")

// enlist notes a request under way, unless the session is over. One whose id another has gets an id of its own for the server. body is a copy.
func (s *session) enlist(c *Call, e *message.Envelope) (p *pending, body []byte, ok bool) {
	id := string(e.ID.Of(c.Body))
	p = &pending{queue: newQueue(), id: id, key: keyOf([]byte(id)), token: keyOf(e.ProgressToken.Of(c.Body)), takes: converses(e.MethodString(c.Body))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, nil, false
	}
	s.touch()
	if body = append(body, c.Body...); p.key == "" || s.find(p.key) != nil {
		s.renamed++
		other := `"hopgate-` + strconv.Itoa(s.renamed) + `"`
		if out, ok := message.ReplaceID(nil, body, []byte(other)); ok {
			body, p.key = out, keyOf([]byte(other))
		}
	}
	s.pending = append(s.pending, p)
	if p.takes && s.listener == nil {
		for i, ok := s.general.pop(); ok; i, ok = s.general.pop() {
			s.waiting.add(1, len(i.event))
			p.push(i)
		}
	}
	return p, body, true
}

// converses reports whether servers talk to the client while they work on such a request. Others are short, and may be the gateway's own.
func converses(method string) bool {
	switch method {
	case "tools/call", "prompts/get", "resources/read", "completion/complete":
		return true
	}
	return false
}
