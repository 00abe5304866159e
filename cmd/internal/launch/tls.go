package launch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

// ServerTLS makes a listener's TLS settings from files that are followed when they change; nil without files. With clientCA, clients need a
// certificate of it.
func ServerTLS(cert, key, clientCA string, log *slog.Logger) (*tls.Config, error) {
	if cert == "" && key == "" {
		if clientCA != "" {
			return nil, errors.New("a client CA without a certificate of our own")
		}
		return nil, nil
	}
	c, err := load(cert, key, log)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.GetCertificate}
	if clientCA == "" {
		return cfg, nil
	}
	cfg.MinVersion, cfg.ClientAuth = tls.VersionTLS13, tls.RequireAndVerifyClientCert
	if cfg.ClientCAs, err = pool(clientCA); err != nil {
		return nil, err
	}
	return cfg, nil
}

// ClientTLS makes a client's TLS settings: whom it trusts (empty: the system's CAs) and, if given, its own certificate.
func ClientTLS(ca, cert, key string, log *slog.Logger) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		p, err := pool(ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = p
	}
	if cert == "" && key == "" {
		return cfg, nil
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c, err := load(cert, key, log)
	if err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = c.GetClientCertificate
	return cfg, nil
}

func load(cert, key string, log *slog.Logger) (*process.Certificate, error) {
	if cert == "" || key == "" {
		return nil, errors.New("a certificate and its key go together: give both")
	}
	return process.LoadCertificate(process.CertificateConfig{CertFile: cert, KeyFile: key, Log: log})
}

func pool(file string) (*x509.CertPool, error) {
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

// CheckOrigin reports what is wrong with a public origin: it is scheme, host and port only.
func CheckOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("give an origin like https://mcp.example.com")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("give scheme, host and port only: no path, no trailing slash, no query, no user")
	}
	return nil
}
