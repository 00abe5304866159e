package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	pageHeads  = 2000    // heads in one read, unless a test wants to see pages
	batchBytes = 4 << 20 // bodies in one read, about
	loadTries  = 3       // when compaction or a restore overtakes a load
)

// Load returns every head at one revision, ordered by key, and takes over the store's epoch.
func (s *Store) Load(ctx context.Context) (*store.Snapshot, error) {
	client, err := s.opened()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		snap, err := s.load(ctx, client)
		overtaken := errors.Is(err, store.ErrCompacted) || errors.Is(err, store.ErrEpoch)
		if !overtaken || try == loadTries {
			return snap, err
		}
	}
}

func (s *Store) load(ctx context.Context, client *clientv3.Client) (*store.Snapshot, error) {
	epoch, err := s.adopt(ctx, client)
	if err != nil {
		return nil, err
	}
	snap := &store.Snapshot{Epoch: epoch}
	for from, more := specs, true; more; {
		resp, err := s.get(ctx, client, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(specs)),
			clientv3.WithRev(snap.Revision), clientv3.WithLimit(s.backend.pageHeads))
		if err != nil {
			return nil, err
		}
		if snap.Revision == 0 {
			snap.Revision = resp.Header.Revision
		}
		if snap.Heads, err = s.appendPage(ctx, client, snap.Heads, resp.Kvs); err != nil {
			return nil, err
		}
		if more = resp.More; more {
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		}
	}
	// etcd orders by the whole key, in which "/" comes after "-".
	slices.SortFunc(snap.Heads, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	s.seen(snap.Revision)
	return snap, s.addNewest(ctx, client, snap)
}

// adopt reads the epoch, writes one into a store that has none, and writes another into one that shows signs of a restore: the same epoch
// under another cluster id, or a revision lower than one seen before. The result is what this handle goes by from now on.
func (s *Store) adopt(ctx context.Context, client *clientv3.Client) (string, error) {
	for {
		known := s.known() // before the read: what was seen until now must be in its answer
		resp, err := s.get(ctx, client, epochKey)
		if err != nil {
			return "", err
		}
		found := incarnation{cluster: resp.Header.ClusterId, newest: resp.Header.Revision}
		var revision int64
		if len(resp.Kvs) > 0 {
			found.epoch, revision = string(resp.Kvs[0].Value), resp.Kvs[0].ModRevision
		}
		if found.epoch != "" && !known.restoredAs(found) {
			s.become(found)
			return found.epoch, nil
		}
		if err := s.notRestoring(ctx, client); err != nil {
			return "", err
		}
		if err := s.stamp(ctx, client, revision); err != nil {
			return "", err
		}
	}
}

// restoredAs reports whether found is another life of the data under the same epoch.
func (known incarnation) restoredAs(found incarnation) bool {
	return known.epoch == found.epoch && (known.cluster != found.cluster || known.newest > found.newest)
}

// become takes over what etcd is now. Revisions of another life say nothing about this one.
func (s *Store) become(found incarnation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incarnation.epoch == found.epoch {
		found.newest = max(found.newest, s.incarnation.newest)
	} else {
		s.quiet = span{}
	}
	s.incarnation = found
}

// stamp writes a new epoch unless another replica was faster. The caller reads it back, so a lost answer does no harm.
func (s *Store) stamp(ctx context.Context, client *clientv3.Client, revision int64) error {
	epoch, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return fmt.Errorf("new epoch: %w", err)
	}
	within, cancel := s.bound(ctx, s.backend.readWithin)
	defer cancel()
	resp, err := client.Txn(within).
		If(clientv3.Compare(clientv3.ModRevision(epochKey), "=", revision), clientv3.Compare(clientv3.ModRevision(restoreKey), "=", 0)).
		Then(clientv3.OpPut(epochKey, epoch.String())).Commit()
	if err != nil {
		return s.unavailable("write the epoch", err)
	}
	if resp.Succeeded {
		s.become(incarnation{epoch: epoch.String(), cluster: resp.Header.ClusterId, newest: resp.Header.Revision})
	}
	return nil
}

func (s *Store) appendPage(ctx context.Context, client *clientv3.Client, heads []store.Head, kvs []*mvccpb.KeyValue) ([]store.Head, error) {
	first, sizes := len(heads), make([]int, 0, len(kvs))
	for _, kv := range kvs {
		h, size, err := decodeHead(kv)
		if err != nil {
			return nil, err
		}
		heads, sizes = append(heads, h), append(sizes, size)
	}
	page := heads[first:]
	for len(page) > 0 {
		n, bytes := 0, 0
		for n < len(page) && n < s.backend.limits.Objects && bytes < batchBytes {
			bytes += sizes[n]
			n++
		}
		if err := s.fillBodies(ctx, client, page[:n]); err != nil {
			return nil, err
		}
		page, sizes = page[n:], sizes[n:]
	}
	return heads, nil
}

// fillBodies reads the bodies of some heads in one transaction. Bodies never change, so their revision doesn't matter.
func (s *Store) fillBodies(ctx context.Context, client *clientv3.Client, heads []store.Head) error {
	ops := make([]clientv3.Op, len(heads))
	for i := range heads {
		ops[i] = clientv3.OpGet(objKey(heads[i].Object.Hash))
	}
	within, cancel := s.bound(ctx, s.backend.readWithin)
	defer cancel()
	resp, err := client.Txn(within).Then(ops...).Commit()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("read bodies: %w", ctx.Err())
	}
	if err != nil {
		return s.unavailable("read bodies", err)
	}
	for i := range heads {
		if err := setBody(&heads[i].Object, resp.Responses[i]); err != nil {
			return err
		}
	}
	return nil
}

func setBody(obj *confset.Object, resp *pb.ResponseOp) error {
	kvs := resp.GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return fmt.Errorf("the stored body %s of %s is missing; restore it from a backup", obj.Hash, obj.Key)
	}
	obj.Body = kvs[0].Value
	return checkBody(obj.Hash, obj.Body)
}

// addNewest adds the record of the newest change at the snapshot's revision, and makes sure that the epoch was still the same then.
func (s *Store) addNewest(ctx context.Context, client *clientv3.Client, snap *store.Snapshot) error {
	at := clientv3.WithRev(snap.Revision)
	epoch, err := s.get(ctx, client, epochKey, at)
	if err != nil {
		return err
	}
	if len(epoch.Kvs) == 0 || string(epoch.Kvs[0].Value) != snap.Epoch {
		return store.ErrEpoch
	}
	newest, err := s.get(ctx, client, newestKey, at)
	if err != nil || len(newest.Kvs) == 0 {
		return err
	}
	snap.Change, err = s.Change(ctx, string(newest.Kvs[0].Value))
	return err
}
