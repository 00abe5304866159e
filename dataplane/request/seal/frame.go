package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

func appendTimes(b []byte, issued, expires time.Time) []byte {
	from := max(issued.Unix(), 0)
	b = binary.AppendUvarint(b, uint64(from))
	return binary.AppendUvarint(b, uint64(max(expires.Unix()-from, 0)))
}

func cutTimes(b []byte) (issued, expires time.Time, rest []byte, ok bool) {
	from, n := binary.Uvarint(b)
	if n <= 0 {
		return issued, expires, nil, false
	}
	b = b[n:]
	life, n := binary.Uvarint(b)
	if n <= 0 {
		return issued, expires, nil, false
	}
	return time.Unix(int64(from), 0), time.Unix(int64(from+life), 0), b[n:], true
}

// boundSize is room enough for bound.
func boundSize(p Purpose, principal, endpoint string) int {
	return atNonce + len(p) + len(principal) + len(endpoint) + 2*binary.MaxVarintLen64
}

// bound appends the additional data to b: frame, purpose, principal and endpoint, so that no two cases share one spelling.
func bound(b, token []byte, p Purpose, principal, endpoint string) []byte {
	b = append(b, token[:atNonce]...)
	b = append(b, p...)
	b = appendText(b, principal)
	return appendText(b, endpoint)
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// tagsOf returns four bytes that depend on the principal and four that depend on the endpoint, and on the key.
func tagsOf(key *table.SealKey, principal, endpoint string) (tags [8]byte) {
	p, e := tag(key, "p", principal), tag(key, "e", endpoint)
	copy(tags[:4], p[:])
	copy(tags[4:], e[:])
	return tags
}

func tag(key *table.SealKey, kind, s string) [sha256.Size]byte {
	var room [256]byte
	b := append(room[:0], "hopgate session tag "...)
	b = append(b, kind...)
	b = append(b, key.Secret[:]...)
	b = append(b, s...)
	return sha256.Sum256(b)
}
