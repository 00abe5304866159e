// Package authority gives data planes and control planes their certificates, so that an operator needs no files for them.
//
// It promises one authority per store, made once however many control planes start at the same time, with its key sealed by the key-encryption
// key; certificates that live 24 h, for the key of a signing request and for nothing else that is written in it; and that a join token is used
// as often as it says, also when two control planes are asked at the same moment: the use and the registration are one conditional commit.
// It refuses tokens that are unknown or wrong with one answer for all, names that belong to another registration, data planes that are shut out,
// and more attempts a second than anybody needs: strangers, tokens and data planes are bounded each on their own, so that none of them keeps the
// others out. Tokens are stored as hashes and compared in constant time.
package authority

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Kinds of what is stored; all of them stay in the control plane.
const (
	KindAuthority = "authority"
	KindNode      = "node"
	KindToken     = "jointoken"
)

// Name is that of the one authority.
const Name = "default"

// Life is how long a certificate is good for, and Skew how far its beginning lies before the moment it was made, for clocks that are behind.
const (
	Life = 24 * time.Hour
	Skew = 5 * time.Minute
)

// Config of an Authority.
type Config struct {
	// Store keeps the authority, tokens and registrations; KEK seals the authority's key. Required.
	Store store.Store
	KEK   *secret.KEK
	// Names are the DNS names and IP addresses under which data planes reach this control plane. At least one.
	Names []string
	// ClientCAs are further authorities whose certificates data planes may have; nil: none.
	ClientCAs func() *x509.CertPool
	// Log gets who joined and who was refused; default: slog.Default().
	Log *slog.Logger
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

// Authority signs for one control plane. Open it before it is used; New and TLS may come before. It is safe for concurrent use.
type Authority struct {
	syncv1.UnimplementedEnrollServiceServer

	cfg    Config
	pace   *pace
	nodes  atomic.Pointer[Nodes]  // nil before Follow
	signer atomic.Pointer[signer] // nil before Open

	mu  sync.Mutex
	own *tls.Certificate // guarded by mu; of this control plane
}

// New checks the config; it reads nothing.
func New(cfg Config) (*Authority, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("authority: config: Store is required")
	case cfg.KEK == nil:
		return nil, errors.New("authority: config: KEK is required")
	case len(cfg.Names) == 0:
		return nil, errors.New("authority: config: Names is required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Authority{cfg: cfg, pace: newPace()}, nil
}

// Follow sets where registrations are read when a certificate is renewed. It comes before the first call.
func (a *Authority) Follow(index Index) { a.nodes.Store(NewNodes(index)) }

// Open makes the store's authority unless it is there, and takes it into use. The store is open already.
func (a *Authority) Open(ctx context.Context) error {
	if err := Ensure(ctx, a.cfg.Store, a.cfg.KEK); err != nil {
		return err
	}
	head, err := a.cfg.Store.Get(ctx, key)
	if err != nil {
		return err
	}
	s, err := unseal(a.cfg.KEK, head)
	if err != nil {
		return err
	}
	a.signer.Store(s)
	_, err = a.certificate()
	return err
}

var errClosed = errors.New("the authority isn't read from the store yet")

// TLS is that of the sync listener: TLS 1.3, a certificate of the authority that is made anew long before it ends, and clients that may come
// without a certificate, since those that join have none. One that is shown must be of the authority or of ClientCAs, and be good.
func (a *Authority) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.now() }}
}

func (a *Authority) now() (*tls.Config, error) {
	own, err := a.certificate()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if a.cfg.ClientCAs != nil {
		pool = a.cfg.ClientCAs().Clone()
	}
	for _, ca := range a.signer.Load().authorities {
		pool.AddCert(ca)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*own}, ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs: pool, SessionTicketsDisabled: true, Time: a.cfg.Now}, nil
}

// certificate is this control plane's own. It is replaced when a third of its life is left.
func (a *Authority) certificate() (*tls.Certificate, error) {
	s := a.signer.Load()
	if s == nil {
		return nil, errClosed
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.cfg.Now()
	if a.own != nil && now.Before(a.own.Leaf.NotAfter.Add(-Life/3)) {
		return a.own, nil
	}
	fresh, err := s.server(a.cfg.Names, now)
	if err != nil {
		return nil, err
	}
	a.own = fresh
	return fresh, nil
}
