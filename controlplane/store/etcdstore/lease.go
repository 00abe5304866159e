package etcdstore

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A request id is remembered for at least requestLife. Its lease is shared by all that are written within leaseShared, which saves a round
// trip per commit and keeps leases few.
const (
	requestLife = 24 * time.Hour
	leaseShared = time.Hour
)

type lease struct {
	id    clientv3.LeaseID
	until time.Time // new keys may be attached until then
}

// leased returns a lease that lives for at least requestLife.
func (s *Store) leased(ctx context.Context, client *clientv3.Client) (clientv3.LeaseID, error) {
	s.mu.Lock()
	current := s.lease
	s.mu.Unlock()
	if time.Now().Before(current.until) {
		return current.id, nil
	}
	made := time.Now()
	resp, err := client.Grant(ctx, int64((requestLife+leaseShared)/time.Second))
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.lease = lease{id: resp.ID, until: made.Add(leaseShared)}
	s.mu.Unlock()
	return resp.ID, nil
}

// forgetLease reports whether err says that the lease is gone, as in a restored store; the next call of leased then makes another.
func (s *Store) forgetLease(err error) bool {
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return false
	}
	s.mu.Lock()
	s.lease = lease{}
	s.mu.Unlock()
	return true
}
