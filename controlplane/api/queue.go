package api

import (
	"sync"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/view"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// queueMost bounds the events that wait for one watcher.
const queueMost = 256

// queue holds the events of one watcher until it takes them. Putting never waits: what finds no room is counted, and the number is told in
// one event behind those that found room.
type queue struct {
	ready chan struct{} // one slot: something is in it

	mu     sync.Mutex
	events []event // guarded by mu
	missed int64   // guarded by mu
}

// event is a change or a node. Changes become messages when they are taken, since putting must be fast.
type event struct {
	change *store.ChangeRecord
	node   *adminv1.Node
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

func (q *queue) hearChange(t view.Told) {
	if t.Gap {
		q.miss()
	}
	if t.Change != nil {
		q.put(event{change: t.Change})
	}
}

func (q *queue) hearNode(n *adminv1.Node) { q.put(event{node: n}) }

func (q *queue) put(e event) {
	q.mu.Lock()
	if q.missed > 0 && len(q.events) > 0 || len(q.events) >= queueMost {
		q.missed++
	} else {
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	q.wake()
}

func (q *queue) miss() {
	q.mu.Lock()
	q.missed++
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns the next event; nil when there is none.
func (q *queue) take() *adminv1.WatchEventsResponse {
	switch e, missed := q.next(); {
	case e.node != nil:
		return &adminv1.WatchEventsResponse{Event: &adminv1.WatchEventsResponse_Node{Node: e.node}}
	case e.change != nil:
		return &adminv1.WatchEventsResponse{Event: &adminv1.WatchEventsResponse_Change{Change: changeOf(e.change)}}
	case missed > 0:
		return &adminv1.WatchEventsResponse{Event: &adminv1.WatchEventsResponse_Missed{Missed: &adminv1.Missed{Events: missed}}}
	}
	return nil
}

// next takes out the first event, or behind the last one the number of those that found no room.
func (q *queue) next() (e event, missed int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		missed, q.missed = q.missed, 0
		return e, missed
	}
	e, q.events[0] = q.events[0], event{}
	q.events = q.events[1:]
	return e, 0
}
