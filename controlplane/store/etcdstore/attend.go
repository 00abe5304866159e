package etcdstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attendFor is how long a handle is counted after it was last heard of.
	attendFor = 10 * time.Second
	// lookTries bounds how often a key that was put may be gone when it is looked for.
	lookTries = 5
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
	named := namedKeys(replicas, who.Name)
	a := &attendance{s: s, client: client, who: who, named: named, key: named + s.replica.String(), count: count}
	a.stay = stay{s: s, client: client, doing: "attend", length: s.backend.attendFor}
	err = a.run(ctx)
	if ctx.Err() != nil { // otherwise the store is why: it may be back in a moment, and the lease is what counts
		a.stay.leave(ctx)
	}
	return err
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
	told   int // last number; 0: none
	stay   stay
}

func (a *attendance) run(ctx context.Context) error {
	from, err := a.look(ctx)
	if err != nil {
		return err
	}
	answers, stop := a.s.listen(ctx, a.client, replicas, from+1)
	defer stop()
	tick := time.NewTicker(a.s.backend.attendFor / 4)
	defer tick.Stop()
	for {
		select {
		case answer, open := <-answers:
			if err := ended(&answer, open); err != nil {
				return a.stay.failed(ctx, err)
			}
		case <-a.who.Turned:
		case <-tick.C:
			if err := a.stay.renew(ctx, a.s.backend.attendFor/2); err != nil {
				return err
			}
		}
		if _, err := a.look(ctx); err != nil {
			return err
		}
	}
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
		case !rests && (own == nil || !a.stay.holds(own)):
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
	if err := a.stay.begin(within); err != nil {
		return a.stay.failed(ctx, err)
	}
	_, err := a.client.Put(within, a.key, "", clientv3.WithLease(a.stay.lease))
	return a.stay.took(ctx, err)
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
		return a.stay.failed(ctx, err)
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
