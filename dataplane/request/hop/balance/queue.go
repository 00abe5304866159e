package balance

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// queue gives out places for calls at once, in the order in which they were asked for. No principal has more than half of the waiting places, but
// one always. The zero value is empty.
type queue struct {
	mu      sync.Mutex
	most    int            // guarded by mu; as the latest call knows it
	taken   int            // guarded by mu
	waiting list.List      // guarded by mu; of *waiter
	shares  map[string]int // guarded by mu; how many of each principal wait; no zero entries
}

// waiter is a call in the queue.
type waiter struct {
	ready     chan struct{} // closed when the place is theirs
	principal string
}

// errFull says that nobody may wait any more, has waited long enough, or that the principal has as many waiting as its share is.
type errFull struct {
	waited bool
	share  int
}

func (errFull) Error() string { return "balance: no place" }

// enter takes a place, waiting for it if need be. The error is an errFull or the end of ctx.
func (q *queue) enter(ctx context.Context, r *table.Resilience, principal string) error {
	ready, err := q.ask(r, principal)
	if ready == nil {
		return err
	}
	timer := time.NewTimer(r.QueueTimeout)
	defer timer.Stop()
	select {
	case <-ready.Value.(*waiter).ready:
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
func (q *queue) ask(r *table.Resilience, principal string) (*list.Element, error) {
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
	if principal != "" {
		if share := max(1, r.Queue/2); q.shares[principal] >= share {
			return nil, errFull{share: share}
		}
		if q.shares == nil {
			q.shares = map[string]int{}
		}
		q.shares[principal]++
	}
	return q.waiting.PushBack(&waiter{ready: make(chan struct{}), principal: principal}), nil
}

// drop takes a call out of the queue. mu is held.
func (q *queue) drop(e *list.Element) *waiter {
	w := q.waiting.Remove(e).(*waiter)
	if n := q.shares[w.principal]; n > 1 {
		q.shares[w.principal] = n - 1
	} else {
		delete(q.shares, w.principal)
	}
	return w
}

// serve gives free places to those who wait. mu is held.
func (q *queue) serve() {
	for q.taken < q.most && q.waiting.Len() > 0 {
		close(q.drop(q.waiting.Front()).ready)
		q.taken++
	}
}

// leave gives up waiting; false: the place has come meanwhile.
func (q *queue) leave(e *list.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-e.Value.(*waiter).ready:
		return false
	default:
	}
	q.drop(e)
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
