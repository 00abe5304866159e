package process

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// CertificateConfig names a certificate's files.
type CertificateConfig struct {
	// CertFile is the PEM certificate with its chain; required.
	CertFile string
	// KeyFile is its PEM private key; required.
	KeyFile string
	// Log says when a new pair is in use or can't be used; required.
	Log *slog.Logger
}

// Certificate is a certificate that follows its files: a handshake that finds them changed uses the new pair. A pair that can't be loaded
// leaves the old one in use and is logged once.
type Certificate struct{ followed[tls.Certificate] }

// LoadCertificate reads the pair; unlike later ones, the first must be good.
func LoadCertificate(cfg CertificateConfig) (*Certificate, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" || cfg.Log == nil {
		return nil, errors.New("config: CertFile, KeyFile and Log are required")
	}
	c := &Certificate{}
	c.what, c.files, c.log, c.load = "certificate", []string{cfg.CertFile, cfg.KeyFile}, cfg.Log, cfg.load
	return c, c.first()
}

func (c CertificateConfig) load() (*tls.Certificate, []any, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("load certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	return &pair, []any{"expires", pair.Leaf.NotAfter}, nil
}

// GetCertificate is for tls.Config.GetCertificate.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.get(), nil
}

// GetClientCertificate is for tls.Config.GetClientCertificate.
func (c *Certificate) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.get(), nil
}

// Authorities are the certificates of CAs in a PEM file that is followed like a Certificate's.
type Authorities struct{ followed[x509.CertPool] }

// LoadAuthorities reads the file; unlike later ones, the first must be good.
func LoadAuthorities(file string, log *slog.Logger) (*Authorities, error) {
	a := &Authorities{}
	a.what, a.files, a.log = "client CA", []string{file}, log
	a.load = func() (*x509.CertPool, []any, error) {
		p, err := Pool(file)
		return p, nil, err
	}
	return a, a.first()
}

// Pool returns the authorities as they are now. Read only.
func (a *Authorities) Pool() *x509.CertPool { return a.get() }

// Pool reads the certificates of a PEM file.
func Pool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return p, nil
}
