package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Backoff between two sendings of the same transaction.
const (
	firstPause = 25 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// Commit writes all or nothing; see store.Store and this package's doc for what happens when an answer is lost.
func (s *Store) Commit(ctx context.Context, w store.Write) (store.Result, error) {
	if err := w.Check(s.backend.limits); err != nil {
		return store.Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Result{}, err
	}
	client, err := s.opened()
	if err != nil {
		return store.Result{}, err
	}
	revision, err := s.commit(ctx, client, &w)
	if s.forgetLease(err) { // sending again is safe, see the package doc
		revision, err = s.commit(ctx, client, &w)
	}
	if err != nil {
		return store.Result{}, err
	}
	s.seen(revision)
	for i := range w.Puts {
		s.bodies.put(w.Puts[i].Object.Hash, w.Puts[i].Object.Body)
	}
	return store.Result{Revision: revision}, nil
}

func (s *Store) commit(ctx context.Context, client *clientv3.Client, w *store.Write) (int64, error) {
	p, err := s.prepare(ctx, client, w)
	if err != nil {
		return 0, err
	}
	return s.settle(ctx, client, p)
}

// prepare does everything before the transaction. Nothing is committed when it fails.
func (s *Store) prepare(ctx context.Context, client *clientv3.Client, w *store.Write) (*plan, error) {
	epoch := s.Epoch()
	if w.Epoch != "" && w.Epoch != epoch {
		return nil, store.ErrEpoch
	}
	within, cancel := s.bound(ctx, s.backend.commitWithin)
	defer cancel()
	if err := s.backend.ready(within, client); err != nil {
		return nil, s.unavailable("commit", err)
	}
	var id clientv3.LeaseID
	if w.RequestID != "" {
		var err error
		if id, err = s.leased(within, client); err != nil {
			return nil, s.unavailable("commit", err)
		}
	}
	p, err := s.plan(w, epoch, id)
	if err != nil {
		return nil, err
	}
	return p, s.putBodies(ctx, client, p.bodies)
}

// settle sends the transaction until its outcome is known. A quarter of the time is kept for ruling it out.
func (s *Store) settle(ctx context.Context, client *clientv3.Client, p *plan) (int64, error) {
	end := time.Now().Add(s.backend.commitWithin)
	sending, cancel := s.bound(ctx, s.backend.commitWithin*3/4)
	defer cancel()
	var lost error // an answer is missing: that sending may still be applied
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		revision, refusal, err := s.attempt(sending, client, p)
		switch {
		case err == nil && refusal == nil:
			return revision, nil
		case refusal != nil && lost == nil:
			return 0, refusal
		case refusal != nil:
			return s.ruleOut(ctx, client, p, end, refusal)
		}
		lost = err
		if !wait(sending, pause) {
			return s.ruleOut(ctx, client, p, end, s.unavailable("commit", errors.Join(lost, ctx.Err())))
		}
	}
}

// attempt sends the transaction once, in half of the time there is for all: what hangs with one member may pass with another.
func (s *Store) attempt(ctx context.Context, client *clientv3.Client, p *plan) (revision int64, refusal, err error) {
	once, cancel := context.WithTimeout(ctx, s.backend.commitWithin*3/8)
	defer cancel()
	revision, refusal, err = p.send(once, client)
	if err != nil && refused(err) {
		return 0, s.unavailable("commit", err), nil
	}
	return revision, refusal, err
}

// ruleOut makes sure that no sending of p can be applied any more, and then returns because; or finds that one was.
func (s *Store) ruleOut(ctx context.Context, client *clientv3.Client, p *plan, end time.Time, because error) (int64, error) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		revision, err := s.fence(ctx, client, p)
		switch {
		case err == nil && revision != 0:
			return revision, nil
		case err == nil:
			return 0, because
		case !wait(ctx, pause):
			// A conflict is definite wherever it is found in an error, so what would have been one stays text.
			return 0, &store.AmbiguousError{ChangeID: p.write.Record.ID, Err: s.unavailable("commit", fmt.Errorf("%v (%w)", because, err))} //nolint:errorlint // as above
		}
	}
}

// fence returns the revision of the change if it is stored, and makes it impossible otherwise.
func (s *Store) fence(ctx context.Context, client *clientv3.Client, p *plan) (int64, error) {
	once, cancel := context.WithTimeout(ctx, s.backend.commitWithin/4)
	defer cancel()
	id, err := s.leased(once, client)
	if err != nil {
		return 0, err
	}
	change := changes + p.write.Record.ID
	resp, err := client.Txn(once).If(clientv3.Compare(clientv3.ModRevision(change), "=", 0)).
		Then(clientv3.OpPut(fences+p.write.Record.ID, "", clientv3.WithLease(id))).
		Else(clientv3.OpGet(change, clientv3.WithKeysOnly())).Commit()
	if err != nil {
		s.forgetLease(err)
		return 0, err
	}
	if resp.Succeeded {
		return 0, nil
	}
	return resp.Responses[0].GetResponseRange().Kvs[0].ModRevision, nil
}

// whyNot reads what the transaction found: its own change, stored by an earlier sending, or the reason it was refused.
func (p *plan) whyNot(resp *clientv3.TxnResponse) (revision int64, refusal, err error) {
	found := make([]*mvccpb.KeyValue, len(resp.Responses))
	for i, r := range resp.Responses {
		if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
			found[i] = kvs[0]
		}
	}
	change, epoch, fence, request, heads := found[0], found[1], found[2], found[3], found[4:]
	switch {
	case change != nil && bytes.Equal(change.Value, p.record):
		return change.ModRevision, nil, nil
	case change != nil:
		return 0, fmt.Errorf("change id %s is taken by another change; make a new one", p.write.Record.ID), nil
	case epoch == nil || string(epoch.Value) != p.epoch:
		return 0, store.ErrEpoch, nil
	case fence != nil:
		return 0, fmt.Errorf("%w: change %s was given up before; make a new one", store.ErrUnavailable, p.write.Record.ID), nil
	case request != nil && p.write.RequestID != "":
		return 0, &store.DuplicateRequestError{RequestID: p.write.RequestID, ChangeID: string(request.Value)}, nil
	}
	if f := p.write.Fence; f != (store.Fence{}) {
		if note := found[len(found)-1]; note == nil || note.CreateRevision != f.Created {
			return 0, store.ErrFenced, nil
		}
	}
	return 0, p.conflict(heads), nil
}

func (p *plan) conflict(heads []*mvccpb.KeyValue) error {
	for i, e := range p.write.Expect {
		var current int64
		if heads[i] != nil {
			current = heads[i].ModRevision
		}
		if current != e.Revision {
			return &store.ConflictError{Key: e.Key, Expected: e.Revision, Current: current}
		}
	}
	return fmt.Errorf("%w: etcd refused change %s for no reason it shows", store.ErrUnavailable, p.write.Record.ID)
}

// wait pauses between attempts; false: there is no time left.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
