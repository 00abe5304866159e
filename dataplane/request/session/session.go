// Package session seals an upstream's session id into the one its caller sees, so that no data plane has to remember sessions and any of them
// can serve the next request.
//
// It promises that a token opens only for the principal and on the endpoint it was sealed for, until it expires, on every data plane that
// holds the ring. It refuses everything else with a fault that reads "session not found" from outside (404, which makes a client initialize
// again) and names the cause for the operator.
package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/hopgate/hopgate/dataplane/table"
)

// Claims is what a token says. Times are kept to the second.
type Claims struct {
	Server    string // configured name
	Upstream  string // the upstream's own session id
	Principal string // who may use it; bound, not stored
	Endpoint  string // canonical endpoint it was issued on; bound, not stored
	Revision  string // MCP revision of the session, "" when unknown
	Issued    time.Time
	Expires   time.Time
}

// Limits of what is sealed.
const (
	// MaxUpstream is the longest upstream session id that is accepted, in bytes.
	MaxUpstream = 2048
	// maxToken is the longest token that is looked at: more than any that Seal makes.
	maxToken = 4096
)

// A token is the unpadded base64url form of
//
//	version 1 | key id 4 | principal tag 4 | endpoint tag 4 | nonce 24 | sealed payload | authenticator 16
//
// The tags are short keyed hashes, there to say afterwards why a token didn't open; nothing is decided by them. The payload is
// issued, life (uvarint seconds) | revision, server, upstream (each uvarint length and bytes). Everything before the nonce, the purpose,
// the principal and the endpoint are additional data.
const (
	version   = 1
	purpose   = "hopgate session 1"
	atKey     = 1
	atTags    = 5
	atNonce   = 13
	atPayload = atNonce + chacha20poly1305.NonceSizeX
	overhead  = atPayload + chacha20poly1305.Overhead
)

var encoding = base64.RawURLEncoding.Strict()

// Seal makes the token for c with the ring's sealing key. Tokens are visible ASCII (base64url).
//
// Errors are *fault.Error: hop=upstream, phase=headers when the upstream's id is longer than MaxUpstream or not visible ASCII;
// hop=gateway, kind=unavailable without a ring.
func Seal(ring *table.Ring, c Claims) (string, error) {
	if ring == nil {
		return "", noRing()
	}
	if err := checkUpstream(&c); err != nil {
		return "", err
	}
	key := &ring.Sealing
	size := overhead + len(c.Upstream) + len(c.Server) + len(c.Revision) + 32
	b := make([]byte, atPayload, size+boundSize(c.Principal, c.Endpoint))
	b[0] = version
	binary.BigEndian.PutUint32(b[atKey:], key.ID)
	tags := tagsOf(key, c.Principal, c.Endpoint)
	copy(b[atTags:], tags[:])
	rand.Read(b[atNonce:atPayload]) //nolint:errcheck // never fails (crypto/rand)
	b = appendPayload(b, c)
	aead, err := chacha20poly1305.NewX(key.Secret[:])
	if err != nil {
		return "", internal(err)
	}
	aad := bound(b[size:size], b, c.Principal, c.Endpoint)
	b = aead.Seal(b[:atPayload], b[atNonce:atPayload], b[atPayload:], aad)
	return encoding.EncodeToString(b), nil
}

// Open returns what token says if it was sealed with a key of the ring for this principal and endpoint and hasn't expired at now.
//
// Errors are *fault.Error of hop=client, phase=session, on the outside all 404 and -32001: kind=malformed for what was never a token or was
// altered, not_found for a key that isn't held, mismatch for another principal or endpoint, expired. Without a ring it is hop=gateway,
// kind=unavailable.
func Open(ring *table.Ring, token, principal, endpoint string, now time.Time) (Claims, error) {
	if ring == nil {
		return Claims{}, noRing()
	}
	b, err := parse(token, boundSize(principal, endpoint))
	if err != nil {
		return Claims{}, err
	}
	key := find(ring, binary.BigEndian.Uint32(b[atKey:]))
	if key == nil {
		return Claims{}, unknownKey()
	}
	aead, err := chacha20poly1305.NewX(key.Secret[:])
	if err != nil {
		return Claims{}, internal(err)
	}
	aad := bound(b[len(b):], b, principal, endpoint)
	payload, err := aead.Open(b[atPayload:atPayload], b[atNonce:atPayload], b[atPayload:], aad)
	if err != nil {
		return Claims{}, whyNot(b, key, principal, endpoint)
	}
	c := Claims{Principal: principal, Endpoint: endpoint}
	if err := c.read(payload); err != nil {
		return Claims{}, malformed(err)
	}
	if !now.Before(c.Expires) {
		return Claims{}, expired()
	}
	return c, nil
}

// ShortHash names a token in logs and spans without giving it away: 12 hexadecimal digits. Empty for an empty token.
func ShortHash(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}

// parse decodes a token into a slice with spare room behind it, and checks its frame.
func parse(token string, spare int) ([]byte, error) {
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // encoding/base64 overlooks line breaks
		return nil, malformed(errors.New("too long, or broken into lines"))
	}
	b, err := encoding.AppendDecode(make([]byte, 0, encoding.DecodedLen(len(token))+spare), []byte(token))
	switch {
	case err != nil:
		return nil, malformed(errors.New("not base64url"))
	case len(b) < overhead:
		return nil, malformed(errors.New("too short"))
	case b[0] != version:
		return nil, malformed(errors.New("unknown version"))
	}
	return b, nil
}

// find returns the key with that id, nil when the ring doesn't hold it.
func find(ring *table.Ring, id uint32) *table.SealKey {
	for i := range ring.Open {
		if ring.Open[i].ID == id {
			return &ring.Open[i]
		}
	}
	if ring.Sealing.ID == id {
		return &ring.Sealing
	}
	return nil
}

// boundSize is room enough for bound.
func boundSize(principal, endpoint string) int {
	return atNonce + len(purpose) + len(principal) + len(endpoint) + 2*binary.MaxVarintLen64
}

// bound appends the additional data to b: frame, purpose, principal and endpoint, so that no two cases share one spelling.
func bound(b, token []byte, principal, endpoint string) []byte {
	b = append(b, token[:atNonce]...)
	b = append(b, purpose...)
	b = appendText(b, principal)
	return appendText(b, endpoint)
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

// whyNot finds out why a token of a known key didn't open.
func whyNot(b []byte, key *table.SealKey, principal, endpoint string) error {
	tags, got := tagsOf(key, principal, endpoint), b[atTags:atNonce]
	switch {
	case !slices.Equal(tags[:4], got[:4]):
		return otherPrincipal()
	case !slices.Equal(tags[4:], got[4:]):
		return otherEndpoint()
	}
	return malformed(errors.New("altered"))
}
