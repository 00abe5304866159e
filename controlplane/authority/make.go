package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

var key = confset.Key{Kind: KindAuthority, Name: Name}

const (
	authorityYears = 10
	// subject begins the common name of every authority that was made here.
	subject = "hopgate authority "
	// tries is how often a lost race or an unknown outcome is looked at again.
	tries = 5
)

// Ensure makes the authority of a store unless it is there. Control planes may race: one of them makes it. An authority that is there but doesn't
// open with kek is an error (secret.ErrWrongKey, secret.ErrDamaged) and is left alone: with another one every data plane would have to join anew.
func Ensure(ctx context.Context, s store.Store, kek *secret.KEK) error {
	for try := 1; ; try++ {
		switch head, err := s.Get(ctx, key); {
		case err == nil:
			_, err := unseal(kek, head)
			return err
		case !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%s: %w", key, err)
		}
		err := found(ctx, s, kek)
		if err == nil {
			return nil
		}
		if !again(err) || try == tries {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
}

// again says whether a commit that failed so is worth another look.
func again(err error) bool {
	var conflict *store.ConflictError
	var ambiguous *store.AmbiguousError
	return errors.As(err, &conflict) || errors.As(err, &ambiguous)
}

// found makes an authority and stores it.
func found(ctx context.Context, s store.Store, kek *secret.KEK) error {
	now, uid := time.Now().UTC(), ulid.Make().String()
	cert, priv, err := root(now)
	if err != nil {
		return err
	}
	sealed, err := kek.Seal(secret.AAD(key, uid), priv)
	if err != nil {
		return err
	}
	head, err := entry(key, uid, &configv1.Authority{Name: Name, Certificates: [][]byte{cert}, Key: sealed}, now)
	if err != nil {
		return err
	}
	w := write(now, "", "made the authority of data planes' certificates")
	change(&w, nil, head)
	_, err = s.Commit(ctx, w)
	return err
}

// root makes the certificate of an authority, in DER, and its key in PKCS #8.
func root(now time.Time) (cert, priv []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: subject + rand.Text()[:8]}, NotBefore: now.Add(-Skew), NotAfter: now.AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1}
	if cert, err = x509.CreateCertificate(rand.Reader, t, t, k.Public(), k); err != nil {
		return nil, nil, err
	}
	priv, err = x509.MarshalPKCS8PrivateKey(k)
	return cert, priv, err
}

// unseal reads a stored authority. Errors name it and wrap secret.ErrWrongKey or secret.ErrDamaged.
func unseal(kek *secret.KEK, head store.Head) (*signer, error) {
	damaged := fmt.Errorf("%s: %w", key, secret.ErrDamaged)
	m, certs, err := read(head.Object.Body)
	if err != nil {
		return nil, damaged
	}
	plain, err := kek.Open(secret.AAD(key, head.Object.UID), m.GetKey())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, damaged
	}
	k, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !k.PublicKey.Equal(certs[0].PublicKey) {
		return nil, damaged
	}
	return &signer{key: k, issuer: certs[0], authorities: certs}, nil
}

func read(body []byte) (*configv1.Authority, []*x509.Certificate, error) {
	m := &configv1.Authority{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, nil, err
	}
	certs, err := x509.ParseCertificates(bytes.Join(m.GetCertificates(), nil))
	if err == nil && len(certs) == 0 {
		err = errors.New("no certificate")
	}
	return m, certs, err
}

// Pin is the SHA-256 of the public key of a stored authority, as join tokens carry it.
func Pin(head store.Head) ([sha256.Size]byte, error) {
	_, certs, err := read(head.Object.Body)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("%s: %w", key, secret.ErrDamaged)
	}
	return sha256.Sum256(certs[0].RawSubjectPublicKeyInfo), nil
}

// signer is an authority that can be signed with.
type signer struct {
	key         crypto.Signer
	issuer      *x509.Certificate   // that of key
	authorities []*x509.Certificate // that data planes trust
	region      string              // that it signs for alone; empty: for all
}
