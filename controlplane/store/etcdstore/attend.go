package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attendFor is how long a handle is counted after it was last heard of.
	attendFor = 10 * time.Second
	// lookTries bounds how often a key that was put may be gone when it is looked for.
	lookTries = 5
	// leaveWithin bounds taking the key away at the end; its lease does it, too.
	leaveWithin = time.Second
)

// Attend counts this handle among those at work on the store; see store.Store.
func (s *Store) Attend(ctx context.Context, who store.Attendee, count func(n int)) error {
	client, err := s.opened()
	if err != nil {
		return err
	}
	if s.backend.alone {
		return s.attendAlone(ctx, count)
	}
	named := replicas + url.PathEscape(who.Name) + "/"
	a := &attendance{s: s, client: client, who: who, named: named, key: named + s.replica.String(), count: count}
	defer a.leave(ctx)
	return a.run(ctx)
}

func (s *Store) attendAlone(ctx context.Context, count func(n int)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	count(1)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return errClosed
	}
}

// attendance is one running Attend in a cluster.
type attendance struct {
	s      *Store
	client *clientv3.Client
	who    store.Attendee
	named  string // what keys of this name begin with
	key    string // of this handle
	count  func(n int)
	told   int              // last number; 0: none
	lease  clientv3.LeaseID // 0: there is none, or not any more
}

func (a *attendance) run(ctx context.Context) error {
	from, err := a.look(ctx)
	if err != nil {
		return err
	}
	changes, stop := a.listen(ctx, from+1)
	defer stop()
	tick := time.NewTicker(a.s.backend.attendFor / 4)
	defer tick.Stop()
	for {
		select {
		case err := <-changes:
			if err != nil {
				return a.failed(ctx, err)
			}
		case <-a.who.Turned:
		case <-tick.C:
			if err := a.renew(ctx); err != nil {
				return err
			}
		}
		if _, err := a.look(ctx); err != nil {
			return err
		}
	}
}

// listen watches the keys of all handles: nil for a change, at last why it ended. It hears of changes sooner than the ticker, no more: making a
// watch may block for as long as etcd can't be reached, so nobody waits for it.
func (a *attendance) listen(ctx context.Context, from int64) (changes <-chan error, stop func()) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	closing := context.AfterFunc(a.s.life, cancel)
	out, done := make(chan error), make(chan struct{})
	tell := func(err error) {
		select {
		case out <- err:
		case <-ctx.Done():
		}
	}
	go func() {
		defer close(done)
		for change := range a.client.Watch(ctx, replicas, clientv3.WithPrefix(), clientv3.WithRev(from)) {
			tell(change.Err())
		}
		tell(errors.New("etcd ended the watch"))
	}()
	return out, func() { closing(); cancel(); <-done }
}

// look counts the handles at work, after seeing to it that this one is among them, or isn't when it rests. It returns the revision of
// the count.
func (a *attendance) look(ctx context.Context) (revision int64, err error) {
	for range lookTries {
		resp, err := a.s.get(ctx, a.client, replicas, clientv3.WithPrefix())
		if err != nil {
			return 0, err
		}
		rests, own := a.who.Rests(), a.own(resp.Kvs)
		switch {
		case rests && own != nil || !a.s.settled.Load():
			err = a.rest(ctx, resp.Kvs)
		case !rests && (own == nil || a.lease == 0 || own.Lease != int64(a.lease)):
			err = a.work(ctx)
		default:
			a.tell(len(resp.Kvs), own != nil)
			return resp.Header.Revision, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, a.s.unavailable("attend", errors.New("etcd loses this control plane's key again and again"))
}

func (a *attendance) tell(n int, among bool) {
	if !among {
		n++
	}
	if n != a.told {
		a.told = n
		a.count(n)
	}
}

// own is this handle's key; nil: it isn't there.
func (a *attendance) own(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	for _, kv := range kvs {
		if string(kv.Key) == a.key {
			return kv
		}
	}
	return nil
}

// work puts this handle's key. Its lease may be gone meanwhile: look comes again.
func (a *attendance) work(ctx context.Context) error {
	within, cancel := a.s.bound(ctx, a.s.backend.readWithin)
	defer cancel()
	if a.lease == 0 {
		made, err := a.client.Grant(within, int64(max(a.s.backend.attendFor, time.Second)/time.Second))
		if err != nil {
			return a.failed(ctx, err)
		}
		a.lease = made.ID
	}
	_, err := a.client.Put(within, a.key, "", clientv3.WithLease(a.lease))
	return a.leased(ctx, err)
}

// rest removes this handle's key, and at first those of others of its name.
func (a *attendance) rest(ctx context.Context, there []*mvccpb.KeyValue) error {
	ops := []clientv3.Op{clientv3.OpDelete(a.key)}
	if !a.s.settled.Load() {
		for _, key := range a.namesakes(there) {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	within, cancel := a.s.bound(ctx, a.s.backend.readWithin)
	defer cancel()
	if _, err := a.client.Txn(within).Then(ops...).Commit(); err != nil {
		return a.failed(ctx, err)
	}
	a.s.settled.Store(true)
	return nil
}

// namesakes are the keys of other handles of this name, no more than a transaction takes.
func (a *attendance) namesakes(there []*mvccpb.KeyValue) (keys []string) {
	for _, kv := range there {
		if key := string(kv.Key); strings.HasPrefix(key, a.named) && key != a.key && len(keys) < a.s.backend.maxOps-1 {
			keys = append(keys, key)
		}
	}
	return keys
}

// renew keeps the lease alive, if there is one. One that is gone is made anew when it is needed.
func (a *attendance) renew(ctx context.Context) error {
	if a.lease == 0 {
		return nil
	}
	within, cancel := a.s.bound(ctx, a.s.backend.attendFor/2)
	defer cancel()
	_, err := a.client.KeepAliveOnce(within, a.lease)
	return a.leased(ctx, err)
}

// leased is the error of a request that needs the lease; that this is gone is none.
func (a *attendance) leased(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		a.lease = 0
		return nil
	case err != nil:
		return a.failed(ctx, err)
	}
	return nil
}

func (a *attendance) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("attend: %w", ctx.Err())
	}
	return a.s.unavailable("attend", err)
}

// leave takes the key away, unless the store is why Attend ends: then it may be back in a moment, and the lease is what counts.
func (a *attendance) leave(ctx context.Context) {
	if a.lease == 0 || ctx.Err() == nil {
		return
	}
	within, cancel := a.s.bound(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	_, _ = a.client.Revoke(within, a.lease) // or it ends by itself
}
