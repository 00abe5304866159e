// Package secret encrypts what the store holds and nobody may read there: sealing rings, and the values of operators' secrets.
//
// It promises envelope encryption: a fresh data key for every write, wrapped by the key-encryption key (KEK), AES-256-GCM for both, bound to
// kind, name and uid of the object, so that a sealed body moved under another name doesn't open. The KEK is a local file and is in no
// backup of the store. It refuses to guess: with another KEK than the one that sealed, every call says so and names the file; nothing is ever
// made anew in place of something that doesn't open. Keys and plaintexts appear in no error.
//
// # Format of a sealed body, version 1
//
//	1 byte    version, 1
//	8 bytes   id of the KEK: the first bytes of SHA-256("hopgate kek id" + KEK)
//	60 bytes  data key under the KEK: nonce (12), key (32), tag (16)
//	rest      plaintext under the data key: nonce (12), ciphertext, tag (16)
//
// Both layers authenticate version, KEK id and the caller's additional data.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/hopgate/hopgate/proto/confset"
)

const (
	version  = 1
	keyBytes = 32
	idBytes  = 8
	gcmExtra = 12 + 16 // nonce and tag
	head     = 1 + idBytes
	wrapped  = keyBytes + gcmExtra
	smallest = head + wrapped + gcmExtra
)

// Why a sealed body doesn't open.
var (
	// ErrWrongKey: it was sealed with another KEK.
	ErrWrongKey = errors.New("sealed with another key-encryption key")
	// ErrDamaged: it was changed, cut off, or belongs to another object.
	ErrDamaged = errors.New("sealed body is damaged or belongs to another object")
)

// KEK is a key-encryption key. It may be used by goroutines at the same time, and prints as its id and file.
type KEK struct {
	file  string
	id    [idBytes]byte
	aead  cipher.AEAD
	print [sha256.Size]byte // key of fingerprints
}

func newKEK(file string, key []byte) (*KEK, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	k := &KEK{file: file, aead: aead}
	sum := sha256.Sum256(append([]byte("hopgate kek id"), key...))
	copy(k.id[:], sum[:])
	k.print = sha256.Sum256(append([]byte("hopgate kek print"), key...))
	return k, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// String returns the id and the file, never the key.
func (k *KEK) String() string { return fmt.Sprintf("kek %x (%s)", k.id, k.file) }

// GoString returns the same as String.
func (k *KEK) GoString() string { return k.String() }

// AAD binds a sealed body to its object.
func AAD(key confset.Key, uid string) []byte { return []byte(key.Kind + "/" + key.Name + "/" + uid) }

// Seal encrypts plaintext and binds it to aad. Sealing the same twice gives different bytes.
func (k *KEK) Seal(aad, plaintext []byte) ([]byte, error) {
	dataKey := make([]byte, keyBytes)
	_, _ = rand.Read(dataKey) // never fails
	data, err := gcm(dataKey)
	if err != nil {
		return nil, err
	}
	blob := append(make([]byte, 0, smallest+len(plaintext)), version)
	blob = append(blob, k.id[:]...)
	aad = append(blob[:head:head], aad...)
	blob = k.aead.Seal(blob, nil, dataKey, aad)
	return data.Seal(blob, nil, plaintext, aad), nil
}

// Open decrypts what Seal returned for the same aad. Errors wrap ErrWrongKey or ErrDamaged.
func (k *KEK) Open(aad, blob []byte) ([]byte, error) {
	if len(blob) < smallest {
		return nil, fmt.Errorf("%w: %d bytes, at least %d are needed", ErrDamaged, len(blob), smallest)
	}
	if blob[0] != version {
		return nil, fmt.Errorf("%w: format %d, this version reads %d", ErrDamaged, blob[0], version)
	}
	if id := [idBytes]byte(blob[1:head]); id != k.id {
		return nil, fmt.Errorf("%w (id %x; %s holds %x): put the key file back that was in use when this was stored; it is in no backup of the store", ErrWrongKey, id, k.file, k.id)
	}
	aad = append(blob[:head:head], aad...)
	dataKey, err := k.aead.Open(nil, nil, blob[head:head+wrapped], aad)
	if err != nil {
		return nil, ErrDamaged
	}
	data, err := gcm(dataKey)
	if err != nil {
		return nil, ErrDamaged
	}
	plaintext, err := data.Open(nil, nil, blob[head+wrapped:], aad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}
