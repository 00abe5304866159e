package balance

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// queue gives out places for calls at once, in the order in which they were asked for. The zero value is empty.
type queue struct {
	mu      sync.Mutex
	most    int       // guarded by mu; as the latest call knows it
	taken   int       // guarded by mu
	waiting list.List // guarded by mu; of chan struct{}, closed when the place is theirs
}

// errFull says that nobody may wait any more, or has waited long enough.
type errFull struct{ waited bool }

func (errFull) Error() string { return "balance: no place" }

// enter takes a place, waiting for it if need be. The error is an errFull or the end of ctx.
func (q *queue) enter(ctx context.Context, r *table.Resilience) error {
	ready, err := q.ask(r)
	if ready == nil {
		return err
	}
	timer := time.NewTimer(r.QueueTimeout)
	defer timer.Stop()
	select {
	case <-ready.Value.(chan struct{}):
		return nil
	case <-ctx.Done():
		if !q.leave(ready) {
			q.exit()
		}
		return ctx.Err()
	case <-timer.C:
		if q.leave(ready) {
			return errFull{waited: true}
		}
		return nil
	}
}

// ask takes a place at once, or one in the queue, which is returned.
func (q *queue) ask(r *table.Resilience) (*list.Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most = r.MaxInFlight
	q.serve()
	switch {
	case q.taken < q.most && q.waiting.Len() == 0:
		q.taken++
		return nil, nil
	case q.waiting.Len() >= r.Queue || r.QueueTimeout <= 0:
		return nil, errFull{}
	}
	return q.waiting.PushBack(make(chan struct{})), nil
}

// serve gives free places to those who wait. mu is held.
func (q *queue) serve() {
	for q.taken < q.most && q.waiting.Len() > 0 {
		close(q.waiting.Remove(q.waiting.Front()).(chan struct{}))
		q.taken++
	}
}

// leave gives up waiting; false: the place has come meanwhile.
func (q *queue) leave(e *list.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-e.Value.(chan struct{}):
		return false
	default:
	}
	q.waiting.Remove(e)
	return true
}

// exit gives a place back.
func (q *queue) exit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken--
	q.serve()
}

// Waiting is how many wait.
func (q *queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len()
}
