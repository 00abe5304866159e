package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attendFor is how long a handle is counted after it was last heard of.
	attendFor = 10 * time.Second
	// enterTries bounds how often a key that was put may be gone when it is looked for.
	enterTries = 4
	// leaveWithin bounds taking the key away at the end; its lease does it, too.
	leaveWithin = time.Second
)

// Attend counts this handle among those at work on the store; see store.Store.
func (s *Store) Attend(ctx context.Context, name string, count func(n int)) error {
	client, err := s.opened()
	if err != nil {
		return err
	}
	if s.backend.alone {
		return s.attendAlone(ctx, count)
	}
	named := replicas + url.PathEscape(name) + "/"
	a := &attendance{s: s, client: client, named: named, key: named + s.replica.String(), count: count}
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

// look counts the handles at work, after putting this one among them if it isn't there. It returns the revision of the count.
func (a *attendance) look(ctx context.Context) (revision int64, err error) {
	for range enterTries {
		resp, err := a.s.get(ctx, a.client, replicas, clientv3.WithPrefix())
		if err != nil {
			return 0, err
		}
		if a.among(resp.Kvs) {
			if n := len(resp.Kvs); n != a.told {
				a.told = n
				a.count(n)
			}
			return resp.Header.Revision, nil
		}
		if err := a.enter(ctx, resp.Kvs); err != nil {
			return 0, err
		}
	}
	return 0, a.s.unavailable("attend", errors.New("etcd loses this control plane's key again and again"))
}

// among reports whether this handle's key is there, under the lease that is kept alive. (etcd 3.7 doesn't tell leases when only keys are asked
// for; nothing else is in the values.)
func (a *attendance) among(kvs []*mvccpb.KeyValue) bool {
	for _, kv := range kvs {
		if string(kv.Key) == a.key {
			return a.lease != 0 && kv.Lease == int64(a.lease)
		}
	}
	return false
}

// enter puts this handle's key, the first time in place of others of the same name.
func (a *attendance) enter(ctx context.Context, there []*mvccpb.KeyValue) error {
	within, cancel := a.s.bound(ctx, a.s.backend.readWithin)
	defer cancel()
	if a.lease == 0 {
		made, err := a.client.Grant(within, int64(max(a.s.backend.attendFor, time.Second)/time.Second))
		if err != nil {
			return a.failed(ctx, err)
		}
		a.lease = made.ID
	}
	ops := []clientv3.Op{clientv3.OpPut(a.key, "", clientv3.WithLease(a.lease))}
	if !a.s.settled.Load() {
		for _, key := range a.namesakes(there) {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	_, err := a.client.Txn(within).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		a.lease = 0
		return nil // look comes again
	}
	if err != nil {
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

// renew keeps the lease alive. One that is gone is made anew by look.
func (a *attendance) renew(ctx context.Context) error {
	within, cancel := a.s.bound(ctx, a.s.backend.attendFor/2)
	defer cancel()
	_, err := a.client.KeepAliveOnce(within, a.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		a.lease = 0
		return nil
	}
	if err != nil {
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
