package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/update"
)

const (
	// greetWithin is how long connecting and the control plane's first message may take together.
	greetWithin = 10 * time.Second
	// demandEvery is how often demand is reported.
	demandEvery = 500 * time.Millisecond
	// resyncWithin is how long the whole set may take to begin after an update that didn't fit.
	resyncWithin = 30 * time.Second
)

// ending is why a session is over and what comes next.
type ending struct {
	err      error
	welcomed bool          // the control plane had answered
	paced    bool          // the pacing says when the next attempt is made
	wait     time.Duration // the least before it
	turn     int           // how many addresses further
	resync   bool          // ask for the whole set
}

// session is one stream. One goroutine, the caller of Follower.session, owns the sends and all state; another only receives.
type session struct {
	f        *Follower
	over     context.Context // ends with the data plane; the stream outlives it by a farewell
	stream   syncv1.SyncService_SyncClient
	incoming chan received
	collect  update.Collector
	greeting *time.Timer // ends the stream when no Welcome comes
	welcomed bool
	answered bool             // outcomes of the whole set were told on this stream
	overdue  <-chan time.Time // nil unless the whole set is awaited
	told     *syncv1.Health   // health as it was reported last; nil: not on this stream
	toldAt   time.Time
}

type received struct {
	msg *syncv1.SyncResponse
	err error
}

// session holds one stream to its end. With resync it asks for the whole set.
func (f *Follower) session(ctx context.Context, address string, resync bool) ending {
	conn, err := f.cfg.Dial(address)
	if err != nil {
		return ending{err: fmt.Errorf("dial: %w", err), paced: true, turn: 1}
	}
	defer conn.Close()
	f.note(func(s *Status) { s.Address = address })
	over := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(over))
	defer cancel(nil)
	defer context.AfterFunc(over, func() { time.AfterFunc(partWithin, func() { cancel(context.Cause(over)) }) })()
	s := &session{f: f, over: over, incoming: make(chan received), collect: update.Collector{Most: f.cfg.MaxUpdate}}
	s.greeting = time.AfterFunc(greetWithin, func() { cancel(fmt.Errorf("no answer within %s", greetWithin)) })
	defer s.greeting.Stop()
	if s.stream, err = syncv1.NewSyncServiceClient(conn).Sync(ctx); err != nil {
		return *lost(ctx, err)
	}
	var receiver sync.WaitGroup
	defer receiver.Wait()
	defer cancel(nil)
	receiver.Go(func() { receive(ctx, s.stream, s.incoming) })
	end := s.run(ctx, resync)
	end.welcomed = s.welcomed
	end.paced = end.paced || end.resync && resync // a whole set that doesn't fit is no accident: then don't hurry
	return *end
}

// receive hands over what arrives until the stream fails or ctx ends.
func receive(ctx context.Context, stream syncv1.SyncService_SyncClient, to chan<- received) {
	for {
		msg, err := stream.Recv()
		select {
		case to <- received{msg, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// run says hello and answers until something ends the stream.
func (s *session) run(ctx context.Context, resync bool) *ending {
	health := time.NewTimer(untilMark(time.Now(), s.f.second))
	defer health.Stop()
	demand := time.NewTicker(demandEvery)
	defer demand.Stop()
	retry, stop := s.f.retryTimer(time.Now())
	defer stop()
	err := s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: s.f.hello(resync)}})
	for err == nil {
		select {
		case <-s.over.Done():
			return s.part(ctx)
		case <-ctx.Done():
			return s.failed(ctx)
		case r := <-s.incoming:
			if r.err != nil {
				return lost(ctx, r.err)
			}
			if end := s.handle(ctx, r.msg); end != nil {
				return end
			}
		case <-health.C:
			health.Reset(untilMark(time.Now(), s.f.second))
			err = s.sendHealth(false)
		case <-s.f.changed:
			err = s.sendHealth(true)
		case <-demand.C:
			if err = s.sendDemand(false); err == nil {
				err = s.sendFailures()
			}
		case <-s.overdue:
			return &ending{err: errors.New("the whole set was asked for and didn't come"), resync: true}
		case <-retry:
			if s.f.store.Suspect() != nil {
				return &ending{err: errors.New("the suspect config may be tried again")}
			}
		}
	}
	return s.failed(ctx)
}

// failed is the end after a send that failed or a ctx that ended: the receiving side knows why.
func (s *session) failed(ctx context.Context) *ending {
	for {
		select {
		case <-ctx.Done():
			return lost(ctx, ctx.Err())
		case r := <-s.incoming:
			if r.err != nil {
				return lost(ctx, r.err)
			}
		}
	}
}

// lost is the end of a stream that broke with err. Why ctx ended says more than what the stream made of it; how long the control plane
// asks to wait (google.rpc.RetryInfo) counts.
func lost(ctx context.Context, err error) *ending {
	end := &ending{err: err, paced: true, turn: 1}
	if cause := context.Cause(ctx); cause != nil {
		end.err = cause
	} else if errors.Is(err, io.EOF) {
		end.err = errors.New("the control plane closed the stream")
	}
	end.wait = update.RetryAfter(err)
	return end
}

func (s *session) send(m *syncv1.SyncRequest) error { return s.stream.Send(m) }

// handle deals with one message; an ending is returned when the stream is to be left.
func (s *session) handle(ctx context.Context, m *syncv1.SyncResponse) *ending {
	s.f.note(func(st *Status) { st.LastContact = time.Now() })
	if w := m.GetWelcome(); w != nil {
		return s.welcome(ctx, w)
	}
	if !s.welcomed {
		return &ending{err: errors.New("the control plane didn't begin with a welcome"), paced: true, turn: 1}
	}
	if u := m.GetUpdate(); u != nil {
		return s.update(ctx, u)
	}
	if sh := m.GetShares(); sh != nil {
		s.f.cfg.Shares(sh)
		if s.sendDemand(false) != nil { // the shares in force: what others may get depends on it
			return s.failed(ctx)
		}
		return nil
	}
	if mv := m.GetMove(); mv != nil {
		return &ending{
			err:  fmt.Errorf("asked to move: %.200s", mv.GetReason()),
			wait: update.Bounded(time.Duration(mv.GetDelayMs()) * time.Millisecond),
			turn: 1,
		}
	}
	return nil // a message of a newer version
}

// welcome notes who answers and, when the desired set is what is held, under which revision and epoch it stands there.
func (s *session) welcome(ctx context.Context, w *syncv1.Welcome) *ending {
	s.greeting.Stop()
	s.welcomed = true
	now := time.Now()
	s.f.note(func(st *Status) { st.Connected, st.Since, st.LastError = true, now, nil })
	s.f.cfg.Log.Info("following control plane", "replica", w.GetReplica(), "revision", w.GetRevision(), "epoch", w.GetEpoch())
	s.f.Changed() // report health at once
	if s.f.cfg.Barred != nil {
		s.f.cfg.Barred(w.GetBarredSha256())
	}
	if s.sendDemand(true) != nil {
		return s.failed(ctx)
	}
	held := s.f.cfg.Table.Load().Version()
	if held.Epoch != "" && held.Epoch != w.GetEpoch() {
		s.f.cfg.Log.Warn("the store was made anew or restored", "epoch", w.GetEpoch(), "epoch_before", held.Epoch)
	}
	if string(w.GetDigest()) == string(s.f.heldDigest()) {
		v := table.Version{Revision: w.GetRevision(), Epoch: w.GetEpoch(), Digest: held.Digest}
		if held.Epoch == v.Epoch { // this control plane may be behind the one before, which brought the config back to what it was
			v.Revision = max(v.Revision, held.Revision)
		}
		s.f.hold("")
		s.f.adopt(confset.Delta{}, s.f.set, v)
		if held.Epoch == w.GetEpoch() {
			return s.greet(ctx)
		}
	}
	return nil
}

// greet tells, as the answer to update 0, what stands against the config that was brought along: this control plane may not know.
func (s *session) greet(ctx context.Context) *ending {
	ack := s.f.ack(&update.Update{}, "", s.f.cfg.Table.Load().Outcomes())
	s.answered = true
	if s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: ack}}) != nil {
		return s.failed(ctx)
	}
	return nil
}

// hello introduces this data plane and says what it holds.
func (f *Follower) hello(resync bool) *syncv1.Hello {
	held := f.cfg.Table.Load().Version()
	h := &syncv1.Hello{
		Node:          f.cfg.Node,
		Region:        f.cfg.Region,
		Group:         f.cfg.Group,
		Version:       f.cfg.Version,
		BootId:        f.cfg.BootID,
		FeatureLevel:  FeatureLevel,
		Epoch:         held.Epoch,
		Digest:        f.heldDigest(),
		Revision:      held.Revision,
		SuspectDigest: f.suspectDigest(time.Now()),
	}
	if resync {
		h.Digest = nil
	}
	return h
}

// heldDigest is the digest of the desired set as received; nil when there was none yet.
func (f *Follower) heldDigest() []byte {
	if !f.Status().Loaded {
		return nil
	}
	d := f.set.Digest()
	return d[:]
}

// sendDemand reports what callers want of fleet-wide limits, and the shares in force, once the control plane has said who it is.
func (s *session) sendDemand(all bool) error {
	if !s.welcomed {
		return nil
	}
	for _, d := range s.f.cfg.Demand(all) {
		if err := s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Demand{Demand: d}}); err != nil {
			return err
		}
	}
	return nil
}
