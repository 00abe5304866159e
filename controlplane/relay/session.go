package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
	"github.com/hopgate/hopgate/proto/update"
)

const (
	// greetWithin is how long connecting and home's first message may take together.
	greetWithin = 10 * time.Second
	// healthEvery is how often health is reported; lookEvery is how often it is looked at, to be told before its time when the data planes of the
	// region stand otherwise.
	healthEvery, lookEvery = 10 * time.Second, time.Second
	// settleAfter is how long after a set was taken it is told how the data planes of the region took it, other news or none: home goes by what it
	// hears from 500 ms on.
	settleAfter = 600 * time.Millisecond
	// partWithin is how long the farewell at the end may take.
	partWithin = 500 * time.Millisecond
	// resyncWithin is how long the whole set may take to begin after an update that didn't fit.
	resyncWithin = 30 * time.Second
)

// ending is why a stream is over and what comes next.
type ending struct {
	err      error
	welcomed bool
	paced    bool          // the pacing says when the next attempt is made
	wait     time.Duration // the least before it
	turn     int           // how many addresses further
	resync   bool          // ask for the whole set
}

// session is one stream to home. One goroutine owns the sends and all state; another only receives.
type session struct {
	s        *Store
	over     context.Context // ends with the relay; the stream outlives it by a farewell
	stream   syncv1.SyncService_SyncClient
	incoming chan received
	collect  update.Collector
	greeting *time.Timer // ends the stream when no Welcome comes
	welcomed bool
	overdue  <-chan time.Time // nil unless the whole set is awaited
	told     counts           // as reported last
	toldAt   time.Time
	tookAt   time.Time             // when a set was taken last
	settled  <-chan time.Time      // when those behind it had time to take it; nil: no set is new
	shut     []*syncv1.RevokedNode // of a list that isn't complete yet
}

// counts are the data planes of the region, and those of them that are behind.
type counts struct{ connected, behind int }

type received struct {
	msg *syncv1.SyncResponse
	err error
}

// session holds one stream to its end.
func (s *Store) session(ctx context.Context, address string, resync bool) ending {
	conn, err := s.cfg.Dial(address)
	if err != nil {
		return ending{err: fmt.Errorf("dial: %w", err), paced: true, turn: 1}
	}
	defer conn.Close()
	s.note(func() { s.address = address })
	over := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(over))
	defer cancel(nil)
	defer context.AfterFunc(over, func() { time.AfterFunc(partWithin, func() { cancel(context.Cause(over)) }) })()
	x := &session{s: s, over: over, incoming: make(chan received), collect: update.Collector{Most: s.cfg.MaxUpdate}}
	x.greeting = time.AfterFunc(greetWithin, func() { cancel(fmt.Errorf("no answer within %s", greetWithin)) })
	defer x.greeting.Stop()
	if x.stream, err = syncv1.NewSyncServiceClient(conn).Sync(ctx); err != nil {
		return *lost(ctx, err)
	}
	var receiver sync.WaitGroup
	defer receiver.Wait()
	defer cancel(nil)
	receiver.Go(func() { x.receive(ctx) })
	end := x.run(ctx, resync)
	end.welcomed = x.welcomed
	end.paced = end.paced || end.resync && resync
	return *end
}

func (x *session) receive(ctx context.Context) {
	for {
		msg, err := x.stream.Recv()
		select {
		case x.incoming <- received{msg, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// run says hello and answers until something ends the stream.
func (x *session) run(ctx context.Context, resync bool) *ending {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	err := x.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: x.s.hello(resync)}})
	for err == nil {
		select {
		case <-x.over.Done():
			return x.part(ctx)
		case <-ctx.Done():
			return lost(ctx, ctx.Err())
		case r := <-x.incoming:
			if r.err != nil {
				return lost(ctx, r.err)
			}
			var end *ending
			if end, err = x.handle(r.msg); end != nil {
				return end
			}
		case <-look.C:
			err = x.look()
		case <-x.settled:
			err = x.settle()
		case <-x.overdue:
			return &ending{err: errors.New("the whole set was asked for and didn't come"), resync: true}
		}
	}
	return x.failed(ctx)
}

// failed is the end after a send that failed: the receiving side knows why.
func (x *session) failed(ctx context.Context) *ending {
	for {
		select {
		case <-ctx.Done():
			return lost(ctx, ctx.Err())
		case r := <-x.incoming:
			if r.err != nil {
				return lost(ctx, r.err)
			}
		}
	}
}

// lost is the end of a stream that broke with err. How long home asks to wait (google.rpc.RetryInfo) counts.
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

// handle deals with one message. An ending is returned when the stream is to be left, an error when it broke.
func (x *session) handle(m *syncv1.SyncResponse) (*ending, error) {
	if w := m.GetWelcome(); w != nil {
		return x.welcome(w)
	}
	if !x.welcomed {
		return &ending{err: errors.New("home didn't begin with a welcome"), paced: true, turn: 1}, nil
	}
	if u := m.GetUpdate(); u != nil {
		return x.update(u)
	}
	if l := m.GetShutOut(); l != nil {
		return x.shutOut(l), nil
	}
	if part := m.GetShares().GetDefaultPpm(); part > 0 {
		x.s.note(func() { x.s.part = part })
	}
	if mv := m.GetMove(); mv != nil {
		return &ending{err: fmt.Errorf("asked to move: %.200s", mv.GetReason()), wait: update.Bounded(time.Duration(mv.GetDelayMs()) * time.Millisecond), turn: 1}, nil
	}
	return nil, nil
}

// welcome notes who answers and, when home has what is held, under which epoch and revision it stands there.
func (x *session) welcome(w *syncv1.Welcome) (*ending, error) {
	x.greeting.Stop()
	x.welcomed = true
	s := x.s
	s.note(func() { s.connected, s.barred = true, w.GetBarredSha256() })
	s.cfg.Log.Info("following home", "replica", w.GetReplica(), "revision", w.GetRevision(), "epoch", w.GetEpoch())
	held, _, _ := s.version()
	if held == nil {
		return nil, x.health()
	}
	digest := held.set.Digest()
	if string(w.GetDigest()) == string(digest[:]) {
		v := *held
		v.epoch, v.revision = w.GetEpoch(), w.GetRevision()
		if v.epoch == held.epoch { // this control plane may be behind the one before
			v.revision = max(v.revision, held.revision)
		}
		if v.epoch != held.epoch || v.revision != held.revision {
			s.publish(&v)
		}
		if err := x.ack(0, ""); err != nil {
			return nil, err
		}
	}
	return nil, x.health()
}

// update takes in one part, and answers after the last.
func (x *session) update(part *syncv1.Update) (*ending, error) {
	x.overdue = nil
	u, err := x.collect.Add(part)
	if err != nil {
		return &ending{err: err, resync: true}, nil //nolint:nilerr // told as the ending
	}
	if u == nil {
		return nil, nil
	}
	held, _, _ := x.s.version()
	if held != nil && u.Epoch == held.epoch && u.Revision < held.revision {
		reason := fmt.Sprintf("revision %d is older than %d, which this relay holds, of the same store", u.Revision, held.revision)
		_ = x.ack(u.Nonce, reason)
		return &ending{err: fmt.Errorf("this control plane is behind: %s", reason), paced: true, turn: 1}, nil
	}
	return nil, x.take(u, held)
}

// take brings an update in force or refuses it.
func (x *session) take(u *update.Update, held *version) error {
	set := confset.Empty()
	if held != nil {
		set = held.set
	}
	next, err := leadsTo(u, set)
	if err != nil {
		x.s.cfg.Log.Error("config refused", "revision", u.Revision, "reason", err)
		x.overdue = time.After(resyncWithin)
		return x.ack(u.Nonce, err.Error())
	}
	reason := suspicious(held, next, u.Full)
	x.s.note(func() { x.s.held = reason })
	if reason != "" {
		x.s.cfg.Log.Error("config refused", "revision", u.Revision, "reason", reason)
		return x.ack(u.Nonce, reason)
	}
	x.s.publish(next)
	x.news()
	if err := x.ack(u.Nonce, ""); err != nil {
		return err
	}
	return x.health()
}

// publish puts a version on disk and hands it to the view. A disk that fails doesn't stop config.
func (s *Store) publish(v *version) {
	if err := s.keep(v); err != nil {
		s.cfg.Log.Error("the copy can't be kept on disk; after a restart without home an older one is served", "file", s.cfg.File, "error", err)
	}
	s.note(func() { s.now = v })
}

// ack answers an update with what is held now; with a reason it is refused.
func (x *session) ack(nonce uint64, reason string) error {
	a := &syncv1.Ack{Nonce: nonce, Refused: reason != "", Reason: reason, AppliedTime: timestamppb.Now()}
	if now, _, _ := x.s.version(); now != nil {
		digest := now.set.Digest()
		a.Digest, a.Revision = digest[:], now.revision
	}
	return x.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: a}})
}

// hello introduces this relay and says what it holds.
func (s *Store) hello(resync bool) *syncv1.Hello {
	h := &syncv1.Hello{Node: s.cfg.Node, Region: s.cfg.Region, Group: s.cfg.Group, Version: s.cfg.Version, BootId: s.bootID,
		FeatureLevel: rules.MostLevel, Relay: true} // what is above it this relay couldn't withhold from who can't read it
	if now, _, _ := s.version(); now != nil {
		digest := now.set.Digest()
		h.Epoch, h.Digest, h.Revision = now.epoch, digest[:], now.revision
	}
	if resync {
		h.Digest = nil
	}
	return h
}
