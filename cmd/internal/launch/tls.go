package launch

import (
	"crypto/tls"
	"errors"
	"log/slog"

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
	if cfg.ClientCAs, err = process.Pool(clientCA); err != nil {
		return nil, err
	}
	return cfg, nil
}

// CallerTLS makes the TLS settings of the listener for MCP clients from files that are followed when they change; nil without files. With
// clientCA, clients may show a certificate, which must be of it.
func CallerTLS(cert, key, clientCA string, log *slog.Logger) (*tls.Config, error) {
	if cert == "" && key == "" || clientCA == "" {
		return ServerTLS(cert, key, clientCA, log)
	}
	cfg, err := ServerTLS(cert, key, "", log)
	if err != nil {
		return nil, err
	}
	known, err := process.LoadAuthorities(clientCA, log)
	if err != nil {
		return nil, err
	}
	cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, known.Pool()
	// A resumed session would go on with a certificate whose CA is gone.
	cfg.SessionTicketsDisabled = true
	cfg.NextProtos = []string{"h2", "http/1.1"} // the server adds its own to a copy that handshakes don't see
	each := cfg.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := each.Clone()
		now.ClientCAs = known.Pool()
		return now, nil
	}
	return cfg, nil
}

// ClientTLS makes a client's TLS settings: whom it trusts (empty: the system's CAs) and, if given, its own certificate.
func ClientTLS(ca, cert, key string, log *slog.Logger) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		p, err := process.Pool(ca)
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
