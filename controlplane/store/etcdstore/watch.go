package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Watch calls emit for every event after revision from, in order; see store.Store and this package's doc. While emit blocks, events pile up
// in memory: emit hands over and returns.
func (s *Store) Watch(ctx context.Context, from int64, emit func(store.Event) error) error {
	client, err := s.opened()
	if err != nil {
		return err
	}
	start := s.resume(from)
	known := s.known()
	if err := s.sameLife(ctx, client, known, start); err != nil {
		return err
	}
	w := &watch{s: s, client: client, known: known, emit: emit, emitted: from, newest: start}
	return w.run(ctx)
}

// sameLife reports store.ErrEpoch unless etcd has the data that was loaded and has come as far as revision.
func (s *Store) sameLife(ctx context.Context, client *clientv3.Client, known incarnation, revision int64) error {
	resp, err := s.get(ctx, client, epochKey)
	if err != nil {
		return err
	}
	same := len(resp.Kvs) > 0 && string(resp.Kvs[0].Value) == known.epoch && resp.Header.ClusterId == known.cluster
	if !same || resp.Header.Revision < revision {
		return store.ErrEpoch
	}
	return nil
}

// watch is one running Watch.
type watch struct {
	s      *Store
	client *clientv3.Client
	known  incarnation
	emit   func(store.Event) error

	emitted int64 // revision of the last event handed over
	newest  int64 // everything up to it was handed over or didn't concern us
	asked   bool  // for progress, and nothing was heard since
	guard   *time.Timer
}

func (w *watch) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(parent))
	defer cancel(nil)
	defer context.AfterFunc(w.s.life, func() { cancel(errClosed) })()
	w.guard = time.AfterFunc(w.s.backend.silence, func() { cancel(errSilent) })
	defer w.guard.Stop()
	ask := time.NewTicker(w.s.backend.progress)
	defer ask.Stop()
	answers := w.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(w.newest+1))
	for {
		select {
		case answer, open := <-answers:
			if !open {
				return w.ended(parent, ctx)
			}
			if err := w.take(ctx, &answer); err != nil {
				return err
			}
		case <-ask.C:
			if err := w.askProgress(ctx); err != nil {
				return err
			}
		}
	}
}

// askProgress asks for an answer that says how far this watch is. A failure shows as silence. A store that was reset behind our back doesn't
// answer either, as it has yet to reach the revision this watch waits for: so what wasn't answered is checked by a read.
func (w *watch) askProgress(ctx context.Context) error {
	if w.asked {
		if err := w.s.sameLife(ctx, w.client, w.known, w.newest); errors.Is(err, store.ErrEpoch) {
			return err
		}
	}
	w.asked = true
	ctx, cancel := context.WithTimeout(ctx, w.s.backend.progress)
	defer cancel()
	_ = w.client.RequestProgress(ctx) // its answer, or the lack of one, is what counts
	return nil
}

func (w *watch) ended(parent, ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case parent.Err() != nil:
		return parent.Err()
	case errors.Is(cause, store.ErrUnavailable):
		return cause
	case cause != nil:
		return fmt.Errorf("watch: %w: %w", store.ErrUnavailable, cause)
	}
	return fmt.Errorf("watch: %w: etcd ended it", store.ErrUnavailable)
}

// take handles one answer. The silence guard rests meanwhile: a slow emit isn't etcd's silence.
func (w *watch) take(ctx context.Context, answer *clientv3.WatchResponse) error {
	w.asked = false
	w.guard.Stop()
	defer func() { w.guard.Reset(w.s.backend.silence) }()
	switch err := answer.Err(); {
	case answer.CompactRevision != 0 || errors.Is(err, rpctypes.ErrCompacted):
		return store.ErrCompacted
	case err != nil:
		return w.s.unavailable("watch", err)
	case answer.Header.GetClusterId() != w.known.cluster:
		return store.ErrEpoch
	case answer.IsProgressNotify():
		return w.progressed(ctx, answer.Header.Revision)
	}
	for _, events := range revisions(answer.Events) {
		if err := w.pass(ctx, events); err != nil {
			return err
		}
	}
	return nil
}

// pass hands one transaction over.
func (w *watch) pass(ctx context.Context, events []*clientv3.Event) error {
	revision := events[0].Kv.ModRevision
	if revision <= w.newest {
		return nil
	}
	event, ok, err := w.s.fold(ctx, w.known.epoch, events)
	if err != nil {
		return err
	}
	if ok {
		if err := w.emit(event); err != nil {
			return err
		}
		w.emitted = revision
	}
	w.newest = revision
	w.s.rest(span{w.emitted, w.newest})
	return nil
}

// progressed notes that nothing up to revision concerns us. A member that lags behind others isn't a store that went back in time, so a lower
// revision is checked with a read that can't lag.
func (w *watch) progressed(ctx context.Context, revision int64) error {
	if revision < w.newest {
		return w.s.sameLife(ctx, w.client, w.known, w.newest)
	}
	w.newest = revision
	w.s.rest(span{w.emitted, w.newest})
	return nil
}

// rest notes a span of revisions without an event, and the highest revision.
func (s *Store) rest(quiet span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = quiet
	s.incarnation.newest = max(s.incarnation.newest, quiet.to)
}

// resume returns where a watch that has handed over everything up to from may begin: further on if nothing has happened since, so that an
// idle fleet in a busy etcd isn't lost to compaction.
func (s *Store) resume(from int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet.from <= from && from < s.quiet.to {
		return s.quiet.to
	}
	return from
}
