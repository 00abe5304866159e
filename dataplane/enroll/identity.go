package enroll

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// fileName is the state's name in the state directory, and mostFile more bytes than it has.
const (
	fileName = "identity.pem"
	mostFile = 256 << 10
)

// Types of the blocks in the file, in their order.
const (
	blockKey       = "PRIVATE KEY"
	blockChain     = "CERTIFICATE"
	blockAuthority = "TRUSTED CERTIFICATE"
)

type key = *ecdsa.PrivateKey

// identity is a certificate with its key, and whom its holder trusts. It is immutable.
type identity struct {
	node, region, group string
	key                 crypto.Signer
	leaf                *x509.Certificate
	chain               [][]byte
	authorities         []*x509.Certificate
	signing             *signing // nil: it is no relay's
}

func file(dir string) string { return filepath.Join(dir, fileName) }

// request makes a signing request for a key; nil: one that it makes.
func request(node string, k key) (key, []byte, error) {
	if k == nil {
		var err error
		if k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
	}
	t := &x509.CertificateRequest{}
	t.Subject.CommonName = node[:min(len(node), 64)]
	csr, err := x509.CreateCertificateRequest(rand.Reader, t, k)
	return k, csr, err
}

// answered is what a control plane gave for a key.
func answered(k key, r *syncv1.EnrollResponse) (*identity, error) {
	id := &identity{key: k, chain: r.GetChain()}
	var err error
	if id.authorities, err = x509.ParseCertificates(bytes.Join(r.GetAuthorities(), nil)); err != nil {
		return nil, fmt.Errorf("the authorities that came: %w", err)
	}
	if err := id.read(); err != nil {
		return nil, fmt.Errorf("the certificate that came: %w", err)
	}
	if id.region != r.GetRegion() || id.group != r.GetGroup() {
		return nil, errors.New("the certificate that came is for another place than the answer says")
	}
	return id, nil
}

// read fills in what the chain says.
func (id *identity) read() error {
	if len(id.chain) == 0 || len(id.authorities) == 0 {
		return errors.New("it has no certificate, or no authority")
	}
	var err error
	if id.leaf, err = x509.ParseCertificate(id.chain[0]); err != nil {
		return err
	}
	pub, ok := id.key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(id.leaf.PublicKey) {
		return errors.New("it is for another key")
	}
	for _, u := range id.leaf.URIs {
		path, ok := strings.CutPrefix(u.Path, "/dp/")
		p := strings.Split(path, "/")
		if u.Scheme != "spiffe" || !ok || len(p) < 2 || len(p) > 3 {
			continue
		}
		if id.region, id.node = p[0], p[len(p)-1]; len(p) == 3 {
			id.group = p[1]
		}
		return nil
	}
	return errors.New("it names no data plane")
}

func (id *identity) pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range id.authorities {
		p.AddCert(ca)
	}
	return p
}

// trusts says whether the authority of a pin is among those that are trusted, or is that of the relay that signed.
func (id *identity) trusts(pin [sha256.Size]byte) bool {
	for _, ca := range id.authorities {
		if sha256.Sum256(ca.RawSubjectPublicKeyInfo) == pin {
			return true
		}
	}
	for _, der := range id.chain[1:] {
		if ca, err := x509.ParseCertificate(der); err == nil && sha256.Sum256(ca.RawSubjectPublicKeyInfo) == pin {
			return id.leaf.CheckSignatureFrom(ca) == nil
		}
	}
	return false
}

// save replaces the file as a whole.
func (id *identity) save(dir string, relay *Relay) error {
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der})
	for _, c := range id.chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockChain, Bytes: c})...)
	}
	for _, c := range id.authorities {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockAuthority, Bytes: c.Raw})...)
	}
	if relay != nil {
		if text, err = id.seal(text, relay); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+fileName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file(dir), err)
	}
	if err := os.Rename(f.Name(), file(dir)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seal adds to the text what a relay signs with, and seals all of it.
func (id *identity) seal(text []byte, relay *Relay) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.signing.key)
	if err != nil {
		return nil, err
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockRelayKey, Bytes: der})...)
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockRelay, Bytes: id.signing.certificate.Raw})...)
	return relay.Seal(text)
}

// load reads the file. Errors name it and never show what is in it.
func load(dir string, relay *Relay) (*identity, error) {
	f, err := os.Open(file(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %s: it must be a file for its owner alone (chmod 600); replace the certificate if anybody may have read it", f.Name(), mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostFile))
	if err != nil {
		return nil, err
	}
	if relay != nil {
		if text, err = relay.Open(text); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	id, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return id, nil
}

// parse reads the file's text.
func parse(text []byte) (*identity, error) {
	id, s := &identity{}, signing{}
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		switch b.Type {
		case blockKey, blockRelayKey:
			k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
			signer, ok := k.(*ecdsa.PrivateKey)
			if err != nil || !ok {
				return nil, errors.New("its key can't be read")
			}
			if b.Type == blockKey {
				id.key = signer
			} else {
				s.key = signer
			}
		case blockChain:
			id.chain = append(id.chain, b.Bytes)
		case blockAuthority, blockRelay:
			ca, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, errors.New("an authority in it can't be read")
			}
			if b.Type == blockRelay {
				s.certificate = ca
			} else {
				id.authorities = append(id.authorities, ca)
			}
		}
	}
	if id.key == nil {
		return nil, errors.New("it has no key")
	}
	if err := id.read(); err != nil || s == (signing{}) {
		return id, err
	}
	return id, id.signs(&s)
}
