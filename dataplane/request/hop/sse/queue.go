package sse

import (
	"context"
	"errors"
	"time"
)

// amount is how much waits.
type amount struct{ n, bytes int }

func (a *amount) fits(size int) bool {
	return a.n == 0 || a.n < mostWaiting && a.bytes+size <= mostBytes
}

func (a *amount) add(n, size int) { a.n, a.bytes = a.n+n, a.bytes+size }

// item is one event, and what it is.
type item struct {
	event    []byte
	response bool
	request  bool // the server's
}

// queue is what waits for one reader.
type queue struct {
	items []item
	amount
	wake chan struct{} // something came; capacity 1
}

func newQueue() queue { return queue{wake: make(chan struct{}, 1)} }

func (q *queue) push(i item) {
	q.items = append(q.items, i)
	q.add(1, len(i.event))
	nudge(q.wake)
}

func (q *queue) pop() (item, bool) {
	if len(q.items) == 0 {
		return item{}, false
	}
	i := q.items[0]
	q.items[0] = item{}
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	}
	q.add(-1, -len(i.event))
	return i, true
}

// drop lets go of the oldest item that nobody needs to answer.
func (q *queue) drop() bool {
	for n, i := range q.items {
		if !i.request {
			q.items = append(q.items[:n:n], q.items[n+1:]...)
			q.add(-1, -len(i.event))
			return true
		}
	}
	return false
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next returns what comes next out of a queue; limit 0 is no limit of time. gone, if it isn't nil, ends the wait with errOver.
func (s *session) next(ctx context.Context, q *queue, p *pending, gone <-chan struct{}, limit time.Duration) (item, error) {
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	for {
		i, ok, err := s.pop(q, p, gone)
		if ok || err != nil {
			return i, err
		}
		select {
		case <-q.wake:
		case <-s.done:
		case <-gone:
		case <-ctx.Done():
			return item{}, ctx.Err()
		case <-late:
			return item{}, errLate
		}
	}
}

var errLate = errors.New("sse: nothing came in time")

// pop returns what is at hand, or why nothing will come.
func (s *session) pop(q *queue, p *pending, gone <-chan struct{}) (i item, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-gone:
		nudge(q.wake) // what woke us may be for who took our place
		return i, false, errOver
	default:
	}
	if i, ok = q.pop(); ok {
		if p != nil {
			s.waiting.add(-1, -len(i.event))
		}
		nudge(s.room)
		return i, true, nil
	}
	switch {
	case p != nil && p.failed != nil:
		return i, false, p.failed
	case p != nil && p.refused != nil:
		return i, false, errRefused
	case s.over:
		return i, false, told(s.err, s.server)
	}
	return i, false, nil
}

var errRefused = errors.New("sse: the POST was refused")
