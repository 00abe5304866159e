package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Key signs tokens.
type Key struct {
	ID, Alg string
	Private crypto.Signer
}

var rsaKeys = map[int]*rsa.PrivateKey{} // making one takes long
var rsaMu sync.Mutex

// NewKey makes a key for an algorithm; RSA keys have 2048 bits and are one and the same.
func NewKey(t testing.TB, id, alg string) *Key {
	t.Helper()
	var (
		private crypto.Signer
		err     error
	)
	switch {
	case alg == "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case strings.HasPrefix(alg, "ES"):
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[alg]
		private, err = ecdsa.GenerateKey(curve, rand.Reader)
	default:
		return NewRSA(t, id, alg, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Key{id, alg, private}
}

// NewRSA makes an RSA key of a size. Keys of one size are the same in one process.
func NewRSA(t testing.TB, id, alg string, bits int) *Key {
	t.Helper()
	rsaMu.Lock()
	defer rsaMu.Unlock()
	if rsaKeys[bits] == nil {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		rsaKeys[bits] = k
	}
	return &Key{id, alg, rsaKeys[bits]}
}

// JWK is the public key.
func (k *Key) JWK() string {
	b, err := jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: k.Alg, Use: "sig"}.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Claims are those of a good token for Audience, valid from now on for five minutes; more are added or replace them, nil removes one.
func (i *Issuer) Claims(now time.Time, more map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": Audience, "sub": "u-1", "client_id": "cli", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Token signs claims with the key and its own id and algorithm.
func (k *Key) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"alg": k.Alg, "typ": "at+jwt"}
	if k.ID != "" {
		header["kid"] = k.ID
	}
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return k.Sign(t, string(h), string(b))
}

// Sign signs any header and payload with the key; the header may say what it likes.
func (k *Key) Sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := Encode(header) + "." + Encode(payload)
	return input + "." + Encode(k.signature(t, input))
}

func (k *Key) signature(t testing.TB, input string) string {
	t.Helper()
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.Alg[2:]]
	if k.Alg == "EdDSA" {
		s, err := k.Private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	h := hash.New()
	h.Write([]byte(input))
	var options crypto.SignerOpts = hash
	if strings.HasPrefix(k.Alg, "PS") {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	if e, ok := k.Private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, e, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		size := (e.Curve.Params().BitSize + 7) / 8
		return string(r.FillBytes(make([]byte, size))) + string(s.FillBytes(make([]byte, size))) // RFC 7518 section 3.4
	}
	s, err := k.Private.Sign(rand.Reader, h.Sum(nil), options)
	if err != nil {
		t.Fatal(err)
	}
	return string(s)
}

// Encode is base64url without padding.
func Encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
