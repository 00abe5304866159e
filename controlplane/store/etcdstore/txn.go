package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// perOp is about what an operation takes in a request beside its key and value.
const perOp = 64

// plan is a write as one transaction that may be sent any number of times and is applied at most once.
type plan struct {
	write     *store.Write
	epoch     string
	record    []byte
	conds     []clientv3.Cmp
	then      []clientv3.Op
	otherwise []clientv3.Op // what tells why not: change, epoch, fence of the change, request id, every object expected, the leader's note
	bodies    []clientv3.Op // put before the transaction, because they don't fit
}

// plan builds the transaction. It knows etcd's limits so that they are refused here, with their numbers, and not there.
func (s *Store) plan(w *store.Write, epoch string, id clientv3.LeaseID) (*plan, error) {
	p := &plan{write: w, epoch: epoch}
	p.expect()
	bytes, err := p.puts(id)
	if err != nil {
		return nil, err
	}
	if bytes > s.backend.requestBytes {
		return nil, &store.LimitError{What: "bytes in a change beside its bodies", Asked: bytes, Limit: s.backend.requestBytes}
	}
	bodies, size := bodyPuts(w.Puts)
	if len(p.then)+len(bodies) <= s.backend.maxOps && bytes+size <= s.backend.requestBytes {
		p.then = append(p.then, bodies...)
	} else {
		p.bodies = bodies
	}
	return p, nil
}

func (p *plan) expect() {
	change, fence, request := changes+p.write.Record.ID, fences+p.write.Record.ID, requests+p.write.RequestID
	p.conds = []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(epochKey), "=", p.epoch),
		clientv3.Compare(clientv3.ModRevision(change), "=", 0),
		clientv3.Compare(clientv3.ModRevision(fence), "=", 0),
	}
	p.otherwise = []clientv3.Op{clientv3.OpGet(change), clientv3.OpGet(epochKey), clientv3.OpGet(fence), clientv3.OpGet(request)}
	if p.write.RequestID != "" {
		p.conds = append(p.conds, clientv3.Compare(clientv3.ModRevision(request), "=", 0))
	}
	if f := p.write.Fence; f != (store.Fence{}) {
		p.conds = append(p.conds, clientv3.Compare(clientv3.CreateRevision(f.Key), "=", f.Created))
	}
	for _, e := range p.write.Expect {
		key := specKey(e.Key)
		p.conds = append(p.conds, clientv3.Compare(clientv3.ModRevision(key), "=", e.Revision))
		p.otherwise = append(p.otherwise, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	if f := p.write.Fence; f != (store.Fence{}) {
		p.otherwise = append(p.otherwise, clientv3.OpGet(f.Key, clientv3.WithKeysOnly()))
	}
}

// puts adds everything but the bodies and returns about how many bytes that is.
func (p *plan) puts(id clientv3.LeaseID) (bytes int, err error) {
	put := func(key string, value []byte, opts ...clientv3.OpOption) {
		p.then = append(p.then, clientv3.OpPut(key, string(value), opts...))
		bytes += len(key) + len(value) + perOp
	}
	w := p.write
	if p.record, err = json.Marshal(&w.Record); err != nil {
		return 0, fmt.Errorf("encode change record: %w", err)
	}
	put(changes+w.Record.ID, p.record)
	put(newestKey, []byte(w.Record.ID))
	if w.RequestID != "" {
		put(requests+w.RequestID, []byte(w.Record.ID), clientv3.WithLease(id))
	}
	for i := range w.Puts {
		value, err := encodeHead(&w.Puts[i], w.Record.ID)
		if err != nil {
			return 0, fmt.Errorf("encode head of %s: %w", w.Puts[i].Object.Key, err)
		}
		put(specKey(w.Puts[i].Object.Key), value)
	}
	for _, key := range w.Deletes {
		p.then = append(p.then, clientv3.OpDelete(specKey(key)))
		bytes += 2*len(specKey(key)) + perOp // once more among the conditions
	}
	return bytes, nil
}

// bodyPuts puts each different body once, and says about how many bytes that is.
func bodyPuts(heads []store.Head) (ops []clientv3.Op, bytes int) {
	seen := make(map[confset.Hash]struct{}, len(heads))
	for i := range heads {
		obj := &heads[i].Object
		if _, twice := seen[obj.Hash]; twice {
			continue
		}
		seen[obj.Hash] = struct{}{}
		ops = append(ops, clientv3.OpPut(objKey(obj.Hash), string(obj.Body)))
		bytes += opBytes(ops[len(ops)-1])
	}
	return ops, bytes
}

func opBytes(op clientv3.Op) int { return len(op.KeyBytes()) + len(op.ValueBytes()) + perOp }

// putBodies stores the bodies that don't fit the transaction, in as few requests as etcd's limits allow. Putting one again changes nothing.
func (s *Store) putBodies(ctx context.Context, client *clientv3.Client, ops []clientv3.Op) error {
	for len(ops) > 0 {
		n, bytes := 1, opBytes(ops[0])
		for n < min(len(ops), s.backend.maxOps) && bytes+opBytes(ops[n]) <= s.backend.requestBytes {
			bytes += opBytes(ops[n])
			n++
		}
		within, cancel := s.bound(ctx, s.backend.commitWithin)
		_, err := client.Txn(within).Then(ops[:n]...).Commit()
		cancel()
		if err != nil {
			return s.unavailable("store bodies", err)
		}
		ops = ops[n:]
	}
	return nil
}

// send sends the transaction once. Either err says that the answer is missing, or the outcome is known: the revision, or why not.
func (p *plan) send(ctx context.Context, client *clientv3.Client) (revision int64, refusal, err error) {
	resp, err := client.Txn(ctx).If(p.conds...).Then(p.then...).Else(p.otherwise...).Commit()
	if err != nil {
		return 0, nil, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil, nil
	}
	return p.whyNot(resp)
}
