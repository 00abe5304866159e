// Package seal makes the opaque tokens that callers keep for the gateway, so that no data plane has to remember anything for them and any of
// them can go on where another left off.
//
// It promises that a token opens only for the purpose, the principal and the endpoint that it was sealed for, until it expires, on every data
// plane that holds the ring, and that its payload can't be read or altered outside. It refuses everything else with one of a few errors that
// tell the operator why; what a caller is told is for each use to say. It knows nothing of what is inside.
package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/hopgate/hopgate/dataplane/table"
)

// Purpose is what a token is for. Only the constants are purposes; none is the beginning of another.
type Purpose string

// The purposes.
const (
	Session Purpose = "hopgate session 1" // session ids
	Request Purpose = "hopgate request 1" // ids of requests that servers send to callers
	Event   Purpose = "hopgate event 1"   // event ids of streams made from several
	Cursor  Purpose = "hopgate cursor 1"  // cursors of lists made from several
	Peer    Purpose = "hopgate peer 1"    // names of what lives in one data plane
	// Note is what a data plane tells another about a request it hands on: all of the caller's header, among others.
	Note Purpose = "hopgate note 1"
	// Challenge and Proof are what two data planes say to each other on a new connection, before it carries anything else.
	Challenge Purpose = "hopgate challenge 1"
	Proof     Purpose = "hopgate proof 1"
)

// Limit returns the longest token of a purpose in bytes, made or looked at; 0 for what is no purpose.
func (p Purpose) Limit() int {
	switch p {
	case Session, Event, Peer: // these are headers
		return 4 << 10
	case Request:
		return 6 << 10
	case Cursor:
		return 16 << 10
	case Note: // a header, too, and nearly the whole head that a data plane takes
		return 28 << 10
	case Challenge, Proof:
		return 256
	}
	return 0
}

// Room returns how many bytes of payload fit into a token of the purpose, whatever its times are.
func (p Purpose) Room() int { return max(encoding.DecodedLen(p.Limit())-overhead-maxTimes, 0) }

// Token is what is sealed. Times are kept to the second.
type Token struct {
	Purpose   Purpose
	Principal string // who may use it; bound, not stored
	Endpoint  string // canonical endpoint that it was issued on; bound, not stored
	Issued    time.Time
	Expires   time.Time
	Payload   []byte
	// Stable makes the same token of the same content each time: the nonce is a keyed hash of all that is sealed, so that no nonce is used
	// for two contents (as in RFC 8452).
	Stable bool
}

// Why a token doesn't open. ErrMalformed comes wrapped, with what is wrong.
var (
	ErrMalformed      = errors.New("not a token of this purpose")
	ErrUnknownKey     = errors.New("sealed with a key that isn't held")
	ErrOtherPrincipal = errors.New("sealed for another principal")
	ErrOtherEndpoint  = errors.New("sealed on another endpoint")
	ErrExpired        = errors.New("expired")
	ErrNoRing         = errors.New("no sealing key is held")
)

// ErrTooLarge is a payload that doesn't fit into a token.
var ErrTooLarge = errors.New("too large to be sealed")

// A token is the unpadded base64url form of
//
//	version 1 | key id 4 | principal tag 4 | endpoint tag 4 | nonce 24 | sealed times and payload | authenticator 16
//
// The times are issued and life, both uvarint seconds. The tags are short keyed hashes, there to say afterwards why a token didn't open;
// nothing is decided by them. Everything before the nonce, the purpose, the principal and the endpoint are additional data.
const (
	version  = 1
	atKey    = 1
	atTags   = 5
	atNonce  = 13
	atTimes  = atNonce + chacha20poly1305.NonceSizeX
	overhead = atTimes + chacha20poly1305.Overhead
	maxTimes = 2 * binary.MaxVarintLen32 // until the year 3058
)

var encoding = base64.RawURLEncoding.Strict()

// Seal makes the token for t with the ring's sealing key. Tokens are visible ASCII (base64url); no two are the same, but for Stable ones.
//
// Errors are ErrNoRing, ErrTooLarge (the token would be longer than the purpose's limit), and those of a purpose that isn't one.
func Seal(ring *table.Ring, t Token) (string, error) {
	limit := t.Purpose.Limit()
	switch {
	case ring == nil:
		return "", ErrNoRing
	case limit == 0:
		return "", errors.New("seal: no such purpose: " + string(t.Purpose))
	}
	key := &ring.Sealing
	size := overhead + 2*binary.MaxVarintLen64 + len(t.Payload)
	b := make([]byte, atTimes, size+boundSize(t.Purpose, t.Principal, t.Endpoint))
	b[0] = version
	binary.BigEndian.PutUint32(b[atKey:], key.ID)
	tags := tagsOf(key, t.Principal, t.Endpoint)
	copy(b[atTags:], tags[:])
	b = appendTimes(b, t.Issued, t.Expires)
	b = append(b, t.Payload...)
	if encoding.EncodedLen(len(b)+chacha20poly1305.Overhead) > limit {
		return "", ErrTooLarge
	}
	aead, err := chacha20poly1305.NewX(key.Secret[:])
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	aad := bound(b[size:size], b, t.Purpose, t.Principal, t.Endpoint)
	if t.Stable {
		stableNonce(b[atNonce:atTimes], key, aad, b[atTimes:])
	} else {
		rand.Read(b[atNonce:atTimes]) //nolint:errcheck // never fails (crypto/rand)
	}
	b = aead.Seal(b[:atTimes], b[atNonce:atTimes], b[atTimes:], aad)
	return encoding.EncodeToString(b), nil
}

// stableNonce fills nonce from everything that is sealed or bound.
func stableNonce(nonce []byte, key *table.SealKey, aad, plain []byte) {
	h := hmac.New(sha256.New, key.Secret[:])
	h.Write([]byte("hopgate stable nonce 1"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(aad))))
	h.Write(aad)
	h.Write(plain)
	copy(nonce, h.Sum(nil))
}

// Open returns the payload of a token that was sealed with a key of the ring for this purpose, principal and endpoint and hasn't expired at
// now. The caller owns it. Errors are those of this package.
func Open(ring *table.Ring, p Purpose, token, principal, endpoint string, now time.Time) (payload []byte, err error) {
	t, err := OpenToken(ring, p, token, principal, endpoint, now)
	return t.Payload, err
}

// OpenToken is Open for those who want to know the times too.
func OpenToken(ring *table.Ring, p Purpose, token, principal, endpoint string, now time.Time) (Token, error) {
	if ring == nil {
		return Token{}, ErrNoRing
	}
	b, err := parse(token, p.Limit(), boundSize(p, principal, endpoint))
	if err != nil {
		return Token{}, err
	}
	key := find(ring, binary.BigEndian.Uint32(b[atKey:]))
	if key == nil {
		return Token{}, ErrUnknownKey
	}
	aead, err := chacha20poly1305.NewX(key.Secret[:])
	if err != nil {
		return Token{}, fmt.Errorf("seal: %w", err)
	}
	aad := bound(b[len(b):], b, p, principal, endpoint)
	plain, err := aead.Open(b[atTimes:atTimes], b[atNonce:atTimes], b[atTimes:], aad)
	if err != nil {
		return Token{}, whyNot(b, key, principal, endpoint)
	}
	t := Token{Purpose: p, Principal: principal, Endpoint: endpoint}
	var ok bool
	if t.Issued, t.Expires, t.Payload, ok = cutTimes(plain); !ok {
		return Token{}, malformed("no times in it")
	}
	if !now.Before(t.Expires) {
		return Token{}, ErrExpired
	}
	return t, nil
}

func malformed(why string) error { return fmt.Errorf("%w: %s", ErrMalformed, why) }

// parse decodes a token into a slice with spare room behind it, and checks its frame.
func parse(token string, limit, spare int) ([]byte, error) {
	if len(token) > limit || strings.ContainsAny(token, "\r\n") { // encoding/base64 overlooks line breaks
		return nil, malformed("too long, or broken into lines")
	}
	b, err := encoding.AppendDecode(make([]byte, 0, encoding.DecodedLen(len(token))+spare), []byte(token))
	switch {
	case err != nil:
		return nil, malformed("not base64url")
	case len(b) < overhead:
		return nil, malformed("too short")
	case b[0] != version:
		return nil, malformed("unknown version")
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

// whyNot finds out why a token of a known key didn't open.
func whyNot(b []byte, key *table.SealKey, principal, endpoint string) error {
	tags, got := tagsOf(key, principal, endpoint), b[atTags:atNonce]
	switch {
	case !slices.Equal(tags[:4], got[:4]):
		return ErrOtherPrincipal
	case !slices.Equal(tags[4:], got[4:]):
		return ErrOtherEndpoint
	}
	return malformed("altered, or of another purpose")
}
