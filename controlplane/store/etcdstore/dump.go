package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	specsEnd  = prefix + "spec0" // '0' follows '/'
	prefixEnd = "/hopgate/v1/default0"
	// firstPage is how many keys the first read of a dump asks for; later ones ask for about batchBytes.
	firstPage = 100
)

// ephemeral are the keys that have no meaning in another life of the store: leased ones, and those that say which life this is.
var ephemeral = []string{"request/", "fence/", "replica/", "meeting/", "status/", strings.TrimPrefix(epochKey, prefix), strings.TrimPrefix(restoreKey, prefix)}

// Lasting reports whether a key below the store's prefix belongs into a dump. Keys with a lease never do.
func Lasting(key string) bool {
	for _, e := range ephemeral {
		if key == e || strings.HasSuffix(e, "/") && strings.HasPrefix(key, e) {
			return false
		}
	}
	return key != ""
}

// Record is one key of the store, without its prefix, and its value as it is stored. The package doc lists the keys.
type Record struct {
	Key   string
	Value []byte
}

// Head returns the head without its body; ok is false when the record is something else.
func (r Record) Head() (h store.Head, ok bool, err error) {
	if !strings.HasPrefix(prefix+r.Key, specs) {
		return h, false, nil
	}
	h, _, err = decodeHead(&mvccpb.KeyValue{Key: []byte(prefix + r.Key), Value: r.Value})
	return h, true, err
}

// Change returns the change record; ok is false when the record is something else.
func (r Record) Change() (c *store.ChangeRecord, ok bool, err error) {
	if !strings.HasPrefix(prefix+r.Key, changes) {
		return nil, false, nil
	}
	c, err = decodeRecord(&mvccpb.KeyValue{Key: []byte(prefix + r.Key), Value: r.Value})
	if err == nil && changes+c.ID != prefix+r.Key {
		err = fmt.Errorf("stored change %q says that it is %q; restore it from a backup", r.Key, c.ID)
	}
	return c, true, err
}

// Body returns the hash of a body, after a look whether it is what it is stored as; ok is false when the record is something else.
func (r Record) Body() (hash confset.Hash, ok bool, err error) {
	name, ok := strings.CutPrefix(prefix+r.Key, objs)
	if !ok {
		return hash, false, nil
	}
	if hash, ok = parseHash(name); !ok {
		return hash, true, fmt.Errorf("stored key %q isn't a hash", r.Key)
	}
	return hash, true, checkBody(hash, r.Value)
}

// Newest returns the id of the newest change; ok is false when the record is something else.
func (r Record) Newest() (id string, ok bool) {
	return string(r.Value), prefix+r.Key == newestKey
}

// Attach reaches or starts etcd like Open, but neither reads nor writes: for Dump and Restore, which must leave no epoch behind. A store that
// was attached is only good for these two.
func (s *Store) Attach(ctx context.Context) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	switch {
	case s.life.Err() != nil:
		return errClosed
	case s.client.Load() != nil:
		return nil
	}
	client, err := s.backend.start(ctx)
	if err != nil {
		return err
	}
	s.client.Store(client)
	return nil
}

// Dump is what a store holds at one revision. Its methods return store.ErrCompacted when etcd doesn't remember that revision any more: make
// another dump then.
type Dump struct {
	Epoch    string
	Revision int64
	Objects  int64 // number of heads

	s      *Store
	client *clientv3.Client
}

// Dump fixes the newest revision. A store that no control plane has used is an error, and so is one into which a restore isn't complete.
func (s *Store) Dump(ctx context.Context) (*Dump, error) {
	client, err := s.opened()
	if err != nil {
		return nil, err
	}
	if err := s.notRestoring(ctx, client); err != nil {
		return nil, err
	}
	resp, err := s.get(ctx, client, epochKey)
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, fmt.Errorf("the store is empty: no control plane has used it, there is nothing below %s", prefix)
	}
	d := &Dump{Epoch: string(resp.Kvs[0].Value), Revision: resp.Header.Revision, s: s, client: client}
	count, err := s.get(ctx, client, specs, clientv3.WithRange(specsEnd), clientv3.WithRev(d.Revision), clientv3.WithCountOnly())
	if err != nil {
		return nil, err
	}
	d.Objects = count.Count
	return d, nil
}

// Heads returns the heads of a kind, with their bodies.
func (d *Dump) Heads(ctx context.Context, kind string) ([]store.Head, error) {
	from := specs + kind + "/"
	resp, err := d.s.get(ctx, d.client, from, clientv3.WithPrefix(), clientv3.WithRev(d.Revision))
	if err != nil {
		return nil, err
	}
	return d.s.appendPage(ctx, d.client, nil, resp.Kvs)
}

// Records calls emit for every lasting key: heads first, in key order, then everything else, in key order.
func (d *Dump) Records(ctx context.Context, emit func(Record) error) error {
	limit := int64(firstPage)
	for _, span := range [...][2]string{{specs, specsEnd}, {prefix, specs}, {specsEnd, prefixEnd}} {
		var err error
		if limit, err = d.span(ctx, span[0], span[1], limit, emit); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dump) span(ctx context.Context, from, end string, limit int64, emit func(Record) error) (int64, error) {
	for more := true; more; {
		resp, err := d.s.get(ctx, d.client, from, clientv3.WithRange(end), clientv3.WithRev(d.Revision), clientv3.WithLimit(limit))
		if err != nil {
			return limit, err
		}
		bytes := 0
		for _, kv := range resp.Kvs {
			bytes += len(kv.Key) + len(kv.Value)
			rec := Record{Key: strings.TrimPrefix(string(kv.Key), prefix), Value: kv.Value}
			if kv.Lease != 0 || !Lasting(rec.Key) {
				continue
			}
			if err := emit(rec); err != nil {
				return limit, err
			}
		}
		if n := len(resp.Kvs); n > 0 {
			from = string(resp.Kvs[n-1].Key) + "\x00"
			limit = min(max(int64(batchBytes/(bytes/n+1)), 1), 4*limit, pageHeads)
		}
		more = resp.More
	}
	return limit, nil
}

// errRestoring tells the time at which the restore began from its id.
func errRestoring(id string) error {
	since := "some time ago"
	if u, err := ulid.ParseStrict(id); err == nil {
		since = "at " + ulid.Time(u.Time()).UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("%w: a restore into this store began %s and isn't complete: wait for it; if it was broken off, run hopgate store restore with --force",
		store.ErrUnavailable, since)
}

// notRestoring fails while a restore is under way or was broken off.
func (s *Store) notRestoring(ctx context.Context, client *clientv3.Client) error {
	resp, err := s.get(ctx, client, restoreKey)
	if err != nil {
		return err
	}
	if len(resp.Kvs) > 0 {
		return errRestoring(string(resp.Kvs[0].Value))
	}
	return nil
}

// errOvertaken ends a restore whose mark is gone or another one's.
var errOvertaken = errors.New("another restore into this store has begun: this one is over")

// ParseHash reads a hash as change records have it.
func ParseHash(s string) (confset.Hash, bool) { return parseHash(s) }
