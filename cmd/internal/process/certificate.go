package process

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificateCheck is how often the files are looked at, at most; they are looked at when a handshake asks.
const certificateCheck = 10 * time.Second

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
type Certificate struct {
	cfg CertificateConfig

	current atomic.Pointer[tls.Certificate]
	checked atomic.Int64 // when the files were last looked at, unix nanoseconds

	mu   sync.Mutex
	seen stamp // guarded by mu; files of the last attempt
}

// stamp tells versions of the two files apart.
type stamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

// LoadCertificate reads the pair; unlike later ones, the first must be good.
func LoadCertificate(cfg CertificateConfig) (*Certificate, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" || cfg.Log == nil {
		return nil, errors.New("config: CertFile, KeyFile and Log are required")
	}
	c := &Certificate{cfg: cfg}
	pair, err := c.load()
	if err != nil {
		return nil, err
	}
	c.seen, _ = c.stat()
	c.current.Store(pair)
	c.checked.Store(time.Now().UnixNano())
	return c, nil
}

func (c *Certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s with key %s: %w", c.cfg.CertFile, c.cfg.KeyFile, err)
	}
	return &pair, nil
}

func (c *Certificate) stat() (s stamp, err error) {
	cert, err := os.Stat(c.cfg.CertFile)
	if err != nil {
		return s, err
	}
	key, err := os.Stat(c.cfg.KeyFile)
	if err != nil {
		return s, err
	}
	return stamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

// GetCertificate is for tls.Config.GetCertificate.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.get(), nil
}

// GetClientCertificate is for tls.Config.GetClientCertificate.
func (c *Certificate) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.get(), nil
}

func (c *Certificate) get() *tls.Certificate {
	now, last := time.Now().UnixNano(), c.checked.Load()
	if now-last >= int64(certificateCheck) && c.checked.CompareAndSwap(last, now) {
		c.refresh()
	}
	return c.current.Load()
}

func (c *Certificate) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.stat()
	if err == nil && s == c.seen {
		return
	}
	told := err != nil && c.seen == stamp{} // files still missing
	c.seen = s
	if err == nil {
		var pair *tls.Certificate
		if pair, err = c.load(); err == nil {
			c.current.Store(pair)
			c.cfg.Log.Info("certificate reloaded", "file", c.cfg.CertFile, "expires", pair.Leaf.NotAfter)
			return
		}
	}
	if !told {
		c.cfg.Log.Error("certificate can't be reloaded, the old one stays in use", "error", err)
	}
}
