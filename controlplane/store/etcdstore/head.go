package etcdstore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// schema of the values this version writes. A higher one was written by a later version and is refused rather than misread.
const schema = 1

// spec is the value of spec/<kind>/<name>.
type spec struct {
	Schema     int       `json:"schema"`
	UID        string    `json:"uid"`
	Generation int64     `json:"generation"`
	Hash       string    `json:"hash"`
	Size       int       `json:"size"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
	Change     string    `json:"change"`
	Owner      string    `json:"owner,omitempty"`
	Set        string    `json:"set,omitempty"`
}

func encodeHead(h *store.Head, change string) ([]byte, error) {
	return json.Marshal(spec{
		Schema: schema, UID: h.Object.UID, Generation: h.Generation, Hash: h.Object.Hash.String(), Size: len(h.Object.Body),
		Created: h.Created.UTC(), Updated: h.Updated.UTC(), Change: change, Owner: h.Owner, Set: h.Set,
	})
}

// decodeHead returns the head without its body, and the body's size.
func decodeHead(kv *mvccpb.KeyValue) (h store.Head, size int, err error) {
	key, ok := parseSpecKey(string(kv.Key))
	if !ok {
		return h, 0, fmt.Errorf("stored key %q isn't spec/<kind>/<name>; remove it from etcd", kv.Key)
	}
	var v spec
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return h, 0, fmt.Errorf("stored head of %s: %w; restore it from a backup", key, err)
	}
	hash, ok := parseHash(v.Hash)
	switch {
	case v.Schema != schema:
		return h, 0, fmt.Errorf("stored head of %s has schema %d, this version reads %d; run the newer version", key, v.Schema, schema)
	case !ok:
		return h, 0, fmt.Errorf("stored head of %s: hash %q isn't a SHA-256; restore it from a backup", key, v.Hash)
	}
	return store.Head{
		Object:     confset.Object{Key: key, UID: v.UID, Hash: hash},
		Generation: v.Generation, Created: v.Created, Updated: v.Updated,
		Change: v.Change, Owner: v.Owner, Set: v.Set, Revision: kv.ModRevision,
	}, v.Size, nil
}

func decodeRecord(kv *mvccpb.KeyValue) (*store.ChangeRecord, error) {
	r := new(store.ChangeRecord)
	if err := json.Unmarshal(kv.Value, r); err != nil {
		return nil, fmt.Errorf("stored change %q: %w; restore it from a backup", kv.Key, err)
	}
	r.Revision = kv.ModRevision
	return r, nil
}

// checkBody refuses a body that isn't what it is stored as.
func checkBody(hash confset.Hash, body []byte) error {
	if confset.HashBody(body) != hash {
		return fmt.Errorf("stored body %s has other content; restore it from a backup", hash)
	}
	return nil
}
