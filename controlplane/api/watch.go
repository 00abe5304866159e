package api

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const (
	// watchersMost bounds the watches at one time.
	watchersMost = 100
	// keepAlive is how often a watch without events shows that it is alive, and asks whether its caller may still watch.
	keepAlive = 15 * time.Second
	// watchKey is the header that says that a watch over gRPC has begun.
	watchKey = "x-hopgate-watch"
)

// desk is where watchers get their events, over gRPC and REST alike.
type desk struct {
	cfg  Config
	seat chan struct{} // one slot per watch
	shut chan struct{} // closed: no more watches
	once sync.Once
}

func newDesk(cfg Config) *desk {
	return &desk{cfg: cfg, seat: make(chan struct{}, watchersMost), shut: make(chan struct{})}
}

func (d *desk) close() { d.once.Do(func() { close(d.shut) }) }

// watcher is how one watch reaches its caller. Errors end the watch.
type watcher struct {
	// begin is called before the first event, when none is missed any more.
	begin func() error
	send  func(*adminv1.WatchEventsResponse) error
	// idle is called every keepAlive.
	idle func() error
	// allowed asks whether the caller may still watch, before every event.
	allowed func() error
}

// watch tells of events until ctx ends, the desk closes or the watcher fails.
func (d *desk) watch(ctx context.Context, w watcher) error {
	select {
	case <-d.shut:
		return errClosing
	default:
	}
	select {
	case d.seat <- struct{}{}:
		defer func() { <-d.seat }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d callers watch already, and no more may; end one of these watches", watchersMost)
	}
	q := newQueue()
	defer d.cfg.State.Listen(q.hearChange)()
	defer d.cfg.Fleet.Listen(q.hearNode)()
	if err := w.begin(); err != nil {
		return err
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.shut:
			return errClosing
		case <-tick.C:
			if err := first(w.allowed, w.idle); err != nil {
				return err
			}
		case <-q.ready:
			if err := d.drain(q, w); err != nil {
				return err
			}
		}
	}
}

// drain sends what waits. A closed desk ends it early: more may come all the time.
func (d *desk) drain(q *queue, w watcher) error {
	for e := q.take(); e != nil; e = q.take() {
		if err := first(w.allowed, func() error { return w.send(e) }); err != nil {
			return err
		}
		select {
		case <-d.shut:
			return errClosing
		default:
		}
	}
	return nil
}

// errClosing ends watches when the control plane stops.
var errClosing = status.Error(codes.Unavailable, "this control plane stops; watch again, and read what there is anew")

// first calls functions up to the first that fails.
func first(calls ...func() error) error {
	for _, call := range calls {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

// WatchEvents is the gRPC face of a watch.
func (s *service) WatchEvents(_ *adminv1.WatchEventsRequest, st grpc.ServerStreamingServer[adminv1.WatchEventsResponse]) error {
	err := s.desk.watch(st.Context(), watcher{
		begin:   func() error { return st.SendHeader(metadata.Pairs(watchKey, "begun")) },
		send:    st.Send,
		idle:    func() error { return nil },
		allowed: func() error { return admitAgain(st.Context()) },
	})
	return refusal(err)
}
