package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

const (
	// restoreWithin bounds one transaction of a restore: the first one may remove a whole fleet's config.
	restoreWithin = 30 * time.Second
	// restorePatience is how long etcd may be away in the midst of a restore.
	restorePatience = 30 * time.Second
	// restoreFlight is how many transactions with records are under way at a time: their order doesn't matter.
	restoreFlight = 8
)

// Restore writes a dump into a store. Its methods are called one at a time: Put for every record, then Finish, and Close in any case.
//
// The first transaction takes away everything below the prefix, the epoch included, and puts a mark. Every later one requires the mark; the last
// one takes it away as it puts a new epoch and the change record. Without an epoch nobody commits; with a mark nobody makes one, and nobody
// loads. So control planes at work go on with what they had, those that start wait, and what is half restored is never served. A restore
// that was broken off leaves the mark; the next one, with force, begins again.
type Restore struct {
	s      *Store
	client *clientv3.Client
	id     string // value of the mark
	ops    []clientv3.Op
	bytes  int

	flight *errgroup.Group // transactions with records
	ctx    context.Context // of these: ends with the first that fails, and with Close
	cancel context.CancelFunc
}

// Room is how many bytes the value of one record may have.
func (s *Store) Room() int { return s.backend.requestBytes - 1024 }

// Restore begins: it empties the store. One that holds anything is refused unless force is set.
func (s *Store) Restore(ctx context.Context, force bool) (*Restore, error) {
	client, err := s.opened()
	if err != nil {
		return nil, err
	}
	r := &Restore{s: s, client: client, id: ulid.Make().String()}
	conds, err := r.conditions(ctx, force)
	if err != nil {
		return nil, err
	}
	resp, err := r.send(ctx, conds, []clientv3.Op{
		clientv3.OpPut(restoreKey, r.id),
		clientv3.OpDelete(prefix, clientv3.WithRange(restoreKey)),
		clientv3.OpDelete(restoreKey+"\x00", clientv3.WithRange(prefixEnd)),
	}, clientv3.OpGet(restoreKey))
	if err != nil {
		return nil, err
	}
	if kvs := refusalGet(resp); !resp.Succeeded && (len(kvs) == 0 || string(kvs[0].Value) != r.id) { // it may have passed before its answer was lost
		return nil, fmt.Errorf("%w: somebody else wrote to the store at this moment; nothing was changed: stop the control planes, or try again", store.ErrUnavailable)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.flight, r.ctx = errgroup.WithContext(ctx)
	r.flight.SetLimit(restoreFlight)
	return r, nil
}

// Close ends what is under way. Before Finish that leaves the store closed.
func (r *Restore) Close() {
	r.cancel()
	_ = r.flight.Wait() // who cares has asked Finish
}

// conditions are that epoch and mark are as they are now, and without force that there is nothing.
func (r *Restore) conditions(ctx context.Context, force bool) ([]clientv3.Cmp, error) {
	var conds []clientv3.Cmp
	for _, key := range []string{epochKey, restoreKey} {
		resp, err := r.s.get(ctx, r.client, key)
		if err != nil {
			return nil, err
		}
		var revision int64
		if len(resp.Kvs) > 0 {
			revision = resp.Kvs[0].ModRevision
		}
		conds = append(conds, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
	}
	if force {
		return conds, nil
	}
	if err := r.s.notRestoring(ctx, r.client); err != nil {
		return nil, err
	}
	return append(conds,
		clientv3.Compare(clientv3.CreateRevision(specs), "=", 0).WithPrefix(),
		clientv3.Compare(clientv3.CreateRevision(changes), "=", 0).WithPrefix()), r.empty(ctx)
}

// empty fails when there is a lasting key.
func (r *Restore) empty(ctx context.Context) error {
	for from, more := prefix, true; more; {
		resp, err := r.s.get(ctx, r.client, from, clientv3.WithRange(prefixEnd), clientv3.WithKeysOnly(), clientv3.WithLimit(pageHeads))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if kv.Lease == 0 && Lasting(string(kv.Key[len(prefix):])) {
				return r.full(ctx)
			}
			from = string(kv.Key) + "\x00"
		}
		more = resp.More
	}
	return nil
}

func (r *Restore) full(ctx context.Context) error {
	resp, err := r.s.get(ctx, r.client, specs, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	return fmt.Errorf("the store isn't empty: it holds %d objects and their history; restore into an empty one, or replace all of it with --force", resp.Count)
}

// Put writes a record, soon. What goes wrong with it may be the error of a later call.
func (r *Restore) Put(rec Record) error {
	if !Lasting(rec.Key) {
		return fmt.Errorf("%q can't be restored", rec.Key)
	}
	op := clientv3.OpPut(prefix+rec.Key, string(rec.Value))
	if len(r.ops) == r.s.backend.maxOps || len(r.ops) > 0 && r.bytes+opBytes(op) > r.s.backend.requestBytes {
		r.flush()
	}
	r.ops, r.bytes = append(r.ops, op), r.bytes+opBytes(op)
	if r.ctx.Err() == nil {
		return nil
	}
	if err := r.flight.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("restore: %w", r.ctx.Err())
}

// flush sends what was put, when fewer than restoreFlight transactions are under way.
func (r *Restore) flush() {
	ops := r.ops
	r.ops, r.bytes = nil, 0
	r.flight.Go(func() error {
		resp, err := r.send(r.ctx, r.marked(), ops)
		if err == nil && !resp.Succeeded {
			return errOvertaken
		}
		return err
	})
}

func (r *Restore) marked() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.Value(restoreKey), "=", r.id)}
}

// Finish writes what is left, then the record of the restore, which must be above all others, and a new epoch, which it returns with the
// revision. From then on the store is served. objects is how many heads there must be.
func (r *Restore) Finish(ctx context.Context, record store.ChangeRecord, objects int64) (epoch string, revision int64, err error) {
	if len(r.ops) > 0 {
		r.flush()
	}
	if err := r.flight.Wait(); err != nil {
		return "", 0, err
	}
	count, err := r.s.get(ctx, r.client, specs, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return "", 0, err
	}
	if count.Count != objects {
		return "", 0, fmt.Errorf("etcd holds %d objects after %d were written: the store stays closed; restore again with --force", count.Count, objects)
	}
	value, err := json.Marshal(&record)
	if err != nil {
		return "", 0, fmt.Errorf("encode change record: %w", err)
	}
	made, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return "", 0, fmt.Errorf("new epoch: %w", err)
	}
	resp, err := r.send(ctx, r.marked(), []clientv3.Op{
		clientv3.OpPut(changes+record.ID, string(value)), clientv3.OpPut(newestKey, record.ID),
		clientv3.OpDelete(restoreKey), clientv3.OpPut(epochKey, made.String()),
	}, clientv3.OpGet(changes+record.ID))
	if err != nil {
		return "", 0, err
	}
	if resp.Succeeded {
		return made.String(), resp.Header.Revision, nil
	}
	if kvs := refusalGet(resp); len(kvs) > 0 && string(kvs[0].Value) == string(value) { // it passed before its answer was lost
		return made.String(), kvs[0].ModRevision, nil
	}
	return "", 0, errOvertaken
}

// refusalGet is what a transaction read that didn't pass.
func refusalGet(resp *clientv3.TxnResponse) []*mvccpb.KeyValue {
	if resp.Succeeded || len(resp.Responses) == 0 {
		return nil
	}
	return resp.Responses[0].GetResponseRange().GetKvs()
}

// send sends a transaction until it is answered: applied twice it does the same.
func (r *Restore) send(ctx context.Context, conds []clientv3.Cmp, then []clientv3.Op, otherwise ...clientv3.Op) (*clientv3.TxnResponse, error) {
	end := time.Now().Add(restorePatience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		within, cancel := r.s.bound(ctx, restoreWithin)
		resp, err := r.client.Txn(within).If(conds...).Then(then...).Else(otherwise...).Commit()
		cancel()
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("restore: %w", ctx.Err())
		case refused(err) || time.Now().After(end) || !wait(ctx, pause):
			return nil, r.s.unavailable("restore", err)
		}
	}
}
