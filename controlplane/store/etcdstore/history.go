package etcdstore

import (
	"context"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Changes returns at most n records older than id before (empty: from the newest), newest id first.
//
// etcd reads and sorts a whole range to return its last keys, so the range is narrowed first: ids begin with their time, and counting keys
// is cheap.
func (s *Store) Changes(ctx context.Context, before string, n int) ([]*store.ChangeRecord, error) {
	client, err := s.opened()
	if err != nil || n <= 0 {
		return nil, err
	}
	end, last := changesEnd, uint64(time.Now().UnixMilli())
	if before != "" {
		id, err := ulid.ParseStrict(before)
		if err != nil {
			return nil, fmt.Errorf("changes before %q: %w; use the id of a change", before, err)
		}
		end, last = changes+before, id.Time()
	}
	from, err := s.narrow(ctx, client, end, last, int64(n))
	if err != nil {
		return nil, err
	}
	resp, err := s.get(ctx, client, from, clientv3.WithRange(end), clientv3.WithLimit(int64(n)),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return nil, err
	}
	records := make([]*store.ChangeRecord, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		if records[i], err = decodeRecord(kv); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// narrow returns a key such that at least n changes (or all there are), but not very many more, lie between it and end. It gallops back
// from the time last, then halves what is between.
func (s *Store) narrow(ctx context.Context, client *clientv3.Client, end string, last uint64, n int64) (string, error) {
	enough := 4*n + 64
	lo, hi := uint64(0), last+1 // at least n changes are since lo
	found, err := s.count(ctx, client, lo, end)
	for back := uint64(time.Minute / time.Millisecond); err == nil && found > enough && hi-lo > 1; back = min(8*back, last) {
		probe := lo + (hi-lo)/2
		if lo == 0 && back < last {
			probe = last - back
		}
		var since int64
		if since, err = s.count(ctx, client, probe, end); since >= n {
			lo, found = probe, since
		} else {
			hi = probe
		}
	}
	return changeKeyAt(lo), err
}

func (s *Store) count(ctx context.Context, client *clientv3.Client, since uint64, end string) (int64, error) {
	resp, err := s.get(ctx, client, changeKeyAt(since), clientv3.WithRange(end), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}

// changeKeyAt is the lowest key of a change made at a time in milliseconds since 1970.
func changeKeyAt(ms uint64) string {
	var id ulid.ULID
	if id.SetTime(ms) != nil {
		return changesEnd
	}
	return changes + id.String()
}
