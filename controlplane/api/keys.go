package api

import (
	"encoding/hex"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// kindAPIKey is the kind whose objects are callers.
const kindAPIKey = "apikey"

// Keys finds API keys by hash. It follows a config set that is replaced as a whole and looks only at what changed: one changed key among
// 100,000 costs one bucket. What it finds it confirms with the index, so that a set that lags behind never revives a revoked key; a key
// made a moment ago is found once the set has it. It is safe for concurrent use.
type Keys struct {
	set   func() *confset.Set
	index Index

	mu     sync.Mutex
	seen   *confset.Set        // guarded by mu
	byHash map[[32]byte]string // name; guarded by mu
	byName map[string][32]byte // guarded by mu
}

// NewKeys follows the set that set returns; it is asked on every lookup and must be cheap. A nil set counts as empty.
func NewKeys(set func() *confset.Set, index Index) *Keys {
	return &Keys{set: set, index: index, seen: confset.Empty(), byHash: map[[32]byte]string{}, byName: map[string][32]byte{}}
}

// Find returns the key with that hash. A key that can't be read is nobody's.
func (k *Keys) Find(sha256 [32]byte) (Key, bool) {
	name, ok := k.name(sha256)
	if !ok {
		return Key{}, false
	}
	h, ok := k.index.Get(kindAPIKey, name)
	if !ok {
		return Key{}, false
	}
	m, sum, ok := readKey(h.Object)
	if !ok || sum != sha256 {
		return Key{}, false
	}
	found := Key{Name: name, Roles: m.GetSpec().GetRoles()}
	if s := m.GetSpec().GetExpires(); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return Key{}, false
		}
		found.Expires = t
	}
	return found, true
}

// Holder returns the name of the key with that hash.
func (k *Keys) Holder(sha256 [32]byte) (string, bool) {
	found, ok := k.Find(sha256)
	return found.Name, ok
}

func (k *Keys) name(sha256 [32]byte) (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.catchUpLocked()
	name, ok := k.byHash[sha256]
	return name, ok
}

func (k *Keys) catchUpLocked() {
	now := k.set()
	if now == nil || now.Digest() == k.seen.Digest() {
		return
	}
	d := confset.Diff(k.seen, now)
	// All old hashes go before new ones come: two keys may have swapped theirs.
	for _, key := range d.Removals {
		k.dropLocked(key)
	}
	for _, o := range d.Upserts {
		k.dropLocked(o.Key)
	}
	for _, o := range d.Upserts {
		if _, sum, ok := readKey(o); ok {
			k.byHash[sum], k.byName[o.Key.Name] = o.Key.Name, sum
		}
	}
	k.seen = now
}

func (k *Keys) dropLocked(key confset.Key) {
	if key.Kind != kindAPIKey {
		return
	}
	if sum, ok := k.byName[key.Name]; ok {
		delete(k.byName, key.Name)
		if k.byHash[sum] == key.Name {
			delete(k.byHash, sum)
		}
	}
}

// readKey returns what an API key's body says, and its hash.
func readKey(o confset.Object) (m *configv1.ApiKey, sum [32]byte, ok bool) {
	if o.Key.Kind != kindAPIKey {
		return nil, sum, false
	}
	m = &configv1.ApiKey{}
	if proto.Unmarshal(o.Body, m) != nil {
		return nil, sum, false
	}
	ok = unhex(sum[:], m.GetSpec().GetSha256())
	return m, sum, ok
}

// unhex fills dst from exactly as many hexadecimal digits as it takes.
func unhex(dst []byte, digits string) bool {
	if len(digits) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(digits))
	return err == nil
}
