package etcdstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Get returns one head; store.ErrNotFound.
func (s *Store) Get(ctx context.Context, key confset.Key) (store.Head, error) {
	kv, err := s.value(ctx, specKey(key), key.String())
	if err != nil {
		return store.Head{}, err
	}
	h, _, err := decodeHead(kv)
	if err != nil {
		return store.Head{}, err
	}
	h.Object.Body, err = s.bodyOf(ctx, &h)
	return h, err
}

// bodyOf returns the body of a head. A missing one is damage: to say "not found" would look like an object that isn't there.
func (s *Store) bodyOf(ctx context.Context, h *store.Head) ([]byte, error) {
	body, err := s.Body(ctx, h.Object.Hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("the stored body %s of %s is missing; restore it from a backup", h.Object.Hash, h.Object.Key)
	}
	return body, err
}

// Body returns a body by its hash; store.ErrNotFound. The body is shared: don't change it.
func (s *Store) Body(ctx context.Context, hash confset.Hash) ([]byte, error) {
	if body, ok := s.bodies.get(hash); ok {
		return body, nil
	}
	kv, err := s.value(ctx, objKey(hash), "body "+hash.String())
	if err != nil {
		return nil, err
	}
	if err := checkBody(hash, kv.Value); err != nil {
		return nil, err
	}
	s.bodies.put(hash, kv.Value)
	return kv.Value, nil
}

// Change returns one record; store.ErrNotFound.
func (s *Store) Change(ctx context.Context, id string) (*store.ChangeRecord, error) {
	kv, err := s.value(ctx, changes+id, "change "+id)
	if err != nil {
		return nil, err
	}
	return decodeRecord(kv)
}

// Request returns the change that a request id led to within the last 24 hours; store.ErrNotFound.
func (s *Store) Request(ctx context.Context, requestID string) (string, error) {
	kv, err := s.value(ctx, requests+requestID, fmt.Sprintf("request %q", requestID))
	if err != nil {
		return "", err
	}
	return string(kv.Value), nil
}

// value reads one key; what names it in errors.
func (s *Store) value(ctx context.Context, key, what string) (*mvccpb.KeyValue, error) {
	client, err := s.opened()
	if err != nil {
		return nil, err
	}
	resp, err := s.get(ctx, client, key)
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, fmt.Errorf("%s: %w", what, store.ErrNotFound)
	}
	return resp.Kvs[0], nil
}

// get is one linearizable range request with this store's deadline and errors.
func (s *Store) get(ctx context.Context, client *clientv3.Client, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if err := ctx.Err(); err != nil { // a member inside the process may answer all the same
		return nil, fmt.Errorf("read etcd: %w", err)
	}
	limit := s.backend.readWithin
	if len(opts) == 0 { // one key: every write begins with such reads and has to be answered in its own time
		limit = min(limit, s.backend.commitWithin*3/4)
	}
	within, cancel := s.bound(ctx, limit)
	defer cancel()
	resp, err := client.Get(within, key, opts...)
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil, store.ErrCompacted
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("read etcd: %w", ctx.Err())
	case err != nil:
		return nil, s.unavailable("read etcd", err)
	}
	return resp, nil
}
