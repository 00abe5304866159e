package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaveWithin bounds taking a key away at the end; its lease does it, too.
const leaveWithin = time.Second

// stay is the lease of a key that is there for as long as this handle is.
type stay struct {
	s      *Store
	client *clientv3.Client
	doing  string           // for errors
	length time.Duration    // whole seconds, at least one
	lease  clientv3.LeaseID // 0: there is none, or not any more
	known  time.Time        // it ends no sooner than length after this
}

// begin makes a lease unless there is one.
func (y *stay) begin(ctx context.Context) error {
	if y.lease != 0 {
		return nil
	}
	now := time.Now()
	made, err := y.client.Grant(ctx, int64(max(y.length, time.Second)/time.Second))
	if err != nil {
		return err
	}
	y.lease, y.known = made.ID, now
	return nil
}

// holds reports whether a key is under the lease.
func (y *stay) holds(kv *mvccpb.KeyValue) bool { return y.lease != 0 && kv.Lease == int64(y.lease) }

// renew keeps the lease alive, if there is one. That it is gone is no error.
func (y *stay) renew(ctx context.Context, within time.Duration) error {
	if y.lease == 0 {
		return nil
	}
	bounded, cancel := y.s.bound(ctx, within)
	defer cancel()
	if err := y.s.backend.ready(bounded, y.client); err != nil { // the client would try again without a pause
		return y.failed(ctx, err)
	}
	now := time.Now()
	_, err := y.client.KeepAliveOnce(bounded, y.lease)
	if err == nil {
		y.known = now
	}
	return y.took(ctx, err)
}

// took is the error of a request that needs the lease; that this is gone is none.
func (y *stay) took(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		y.lease = 0
		return nil
	case err != nil:
		return y.failed(ctx, err)
	}
	return nil
}

func (y *stay) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", y.doing, ctx.Err())
	}
	return y.s.unavailable(y.doing, err)
}

// leave takes away what is under the lease.
func (y *stay) leave(ctx context.Context) {
	if y.lease == 0 {
		return
	}
	within, cancel := y.s.bound(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	_, _ = y.client.Revoke(within, y.lease) // or it ends by itself
}

// listen watches the keys below one; the channel is closed when the watch has ended. Making a watch may block for as long as etcd can't be
// reached, so nobody waits for it.
func (s *Store) listen(ctx context.Context, client *clientv3.Client, below string, from int64) (answers <-chan clientv3.WatchResponse, stop func()) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	closing := context.AfterFunc(s.life, cancel)
	out, done := make(chan clientv3.WatchResponse), make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		for answer := range client.Watch(ctx, below, clientv3.WithPrefix(), clientv3.WithRev(from)) {
			select {
			case out <- answer:
			case <-ctx.Done():
			}
		}
	}()
	return out, func() { closing(); cancel(); <-done }
}

// ended is why listening is over; nil: it isn't.
func ended(answer *clientv3.WatchResponse, open bool) error {
	if !open {
		return errors.New("etcd ended the watch")
	}
	return answer.Err()
}

// namedKeys is what the keys of handles of a name begin with, below one.
func namedKeys(below, name string) string { return below + url.PathEscape(name) + "/" }
