package api

import (
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// kindAPIKey is the kind whose objects are callers.
const kindAPIKey = "apikey"

// Keys finds API keys by hash: that of a key, or of the one it replaces until that ends. What claims says of a hash it confirms with the index,
// so that claims that lag behind never revive a revoked key. It is safe for concurrent use.
type Keys struct {
	holder func(links.Claim) (name string, ok bool)
	index  Index
}

// NewKeys asks holder for the name of the API key that claims a hash.
func NewKeys(holder func(links.Claim) (name string, ok bool), index Index) *Keys {
	return &Keys{holder: holder, index: index}
}

// Find returns the key with that hash. A key that can't be read is nobody's.
func (k *Keys) Find(sha256 [32]byte) (Key, bool) {
	name, ok := k.holder(links.Claim{Space: links.Hash, Value: string(sha256[:])})
	if !ok {
		return Key{}, false
	}
	h, ok := k.index.Get(kindAPIKey, name)
	if !ok {
		return Key{}, false
	}
	m := &configv1.ApiKey{}
	if proto.Unmarshal(h.Object.Body, m) != nil {
		return Key{}, false
	}
	expires, ok := validity(m.GetSpec(), sha256)
	return Key{Name: name, Roles: m.GetSpec().GetRoles(), Expires: expires}, ok
}

// validity says until when a hash admits, zero for ever; ok is false when it doesn't admit as this key. A replaced hash ends with whichever
// of the two ends is earlier, and admits not at all without an end of its own.
func validity(s *configv1.ApiKeySpec, sum [32]byte) (expires time.Time, ok bool) {
	if s.GetExpires() != "" {
		var err error
		if expires, err = time.Parse(time.RFC3339, s.GetExpires()); err != nil {
			return expires, false
		}
	}
	var present, previous [32]byte
	if unhex(present[:], s.GetSha256()) && present == sum {
		return expires, true
	}
	if !unhex(previous[:], s.GetPreviousSha256()) || previous != sum {
		return expires, false
	}
	end, err := time.Parse(time.RFC3339, s.GetPreviousExpires())
	if err != nil {
		return expires, false
	}
	if expires.IsZero() || end.Before(expires) {
		expires = end
	}
	return expires, true
}

// unhex fills dst from exactly as many hexadecimal digits as it takes.
func unhex(dst []byte, digits string) bool {
	if len(digits) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(digits))
	return err == nil
}
