package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// version is what an etag stands for: a store revision and the body stored at it. The hash keeps an etag of an earlier life of the store
// from matching by accident, and lets a lost race say which fields changed since.
type version struct {
	revision int64
	hash     confset.Hash
}

func etagOf(h store.Head) string {
	return version{h.Revision, h.Object.Hash}.String()
}

// String returns the etag: opaque to callers, safe in URLs and headers.
func (v version) String() string {
	b := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(v.hash)), uint64(v.revision))
	return base64.RawURLEncoding.EncodeToString(append(b, v.hash[:]...))
}

var errEtag = errors.New("isn't an etag of this API")

func parseEtag(s string) (v version, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return v, errEtag
	}
	rev, n := binary.Uvarint(b)
	if n <= 0 || len(b)-n != len(v.hash) || rev == 0 || rev > 1<<62 {
		return v, errEtag
	}
	v.revision = int64(rev)
	copy(v.hash[:], b[n:])
	return v, nil
}

// of says whether the head is still the one the etag was made for.
func (v version) of(h *store.Head) bool {
	return h != nil && h.Revision == v.revision && h.Object.Hash == v.hash
}
