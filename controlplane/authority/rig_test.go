package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// storeIndex reads registrations from the store.
type storeIndex struct{ store.Store }

func (x storeIndex) Get(kind, name string) (store.Head, bool) {
	h, err := x.Store.Get(context.Background(), confset.Key{Kind: kind, Name: name})
	return h, err == nil
}

// rig is a store with control planes that give certificates on it.
type rig struct {
	*testing.T
	store *memstore.Store
	kek   *secret.KEK
	clock *clock
}

func newRig(t *testing.T) *rig {
	kek, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{T: t, store: memstore.New(), kek: kek, clock: &clock{at: time.Now()}}
}

// open makes one more control plane's authority.
func (r *rig) open() *authority.Authority {
	r.Helper()
	s := r.store.Replica()
	a, err := authority.New(authority.Config{Store: s, KEK: r.kek, Names: []string{"127.0.0.1", "home.example"}, Log: slog.New(slog.DiscardHandler), Now: r.clock.now})
	if err != nil {
		r.Fatal(err)
	}
	if err := a.Open(r.Context()); err != nil {
		r.Fatal(err)
	}
	a.Follow(storeIndex{s})
	return a
}

// serve lets an authority answer on loopback.
func (r *rig) serve(a *authority.Authority) (address string) {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(a.TLS())))
	syncv1.RegisterEnrollServiceServer(srv, a)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	r.Cleanup(func() { srv.Stop(); served.Wait() })
	return l.Addr().String()
}

func (r *rig) head() store.Head {
	r.Helper()
	h, err := r.store.Get(r.Context(), confset.Key{Kind: authority.KindAuthority, Name: authority.Name})
	if err != nil {
		r.Fatal(err)
	}
	return h
}

// ca is the pool with the authority.
func (r *rig) ca() *x509.CertPool {
	r.Helper()
	m := &configv1.Authority{}
	if err := proto.Unmarshal(r.head().Object.Body, m); err != nil {
		r.Fatal(err)
	}
	c, err := x509.ParseCertificate(m.Certificates[0])
	if err != nil {
		r.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return pool
}

// token stores a token for region eu that ends in an hour.
func (r *rig) token(change func(*adminv1.JoinToken)) jointoken.Token {
	r.Helper()
	pin, err := authority.Pin(r.head())
	if err != nil {
		r.Fatal(err)
	}
	made := jointoken.New(pin)
	sum := made.Sum()
	m := &adminv1.JoinToken{Id: made.ID, Region: "eu", Uses: 1, Sha256: sum[:], ExpireTime: timestamppb.New(r.clock.now().Add(time.Hour))}
	if change != nil {
		change(m)
	}
	r.put(authority.KindToken, made.ID, m)
	return made
}

// put stores an object over what is there.
func (r *rig) put(kind, name string, m proto.Message) {
	r.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		r.Fatal(err)
	}
	key := confset.Key{Kind: kind, Name: name}
	o := confset.NewObject(key, "u", body)
	h, _ := r.store.Get(r.Context(), key)
	_, err = r.store.Commit(r.Context(), store.Write{
		Record: store.ChangeRecord{ID: ulid.Make().String(), Time: time.Now(), Author: "test", Objects: []store.Changed{{Kind: kind, Name: name, UID: "u", After: o.Hash.String()}}},
		Expect: []store.Precondition{{Key: key, Revision: h.Revision}}, Puts: []store.Head{{Object: o, Generation: 1}},
	})
	if err != nil {
		r.Fatal(err)
	}
}

// caller is one data plane as the control planes see it.
type caller struct {
	*rig
	key  *ecdsa.PrivateKey
	cert [][]byte // nil: none yet
}

func (r *rig) caller() *caller {
	r.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.Fatal(err)
	}
	return &caller{rig: r, key: k}
}

func (c *caller) csr() []byte {
	c.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"evil.example"}}, c.key)
	if err != nil {
		c.Fatal(err)
	}
	return der
}

// enroll asks one control plane over TLS, with its certificate if it has one.
func (c *caller) enroll(address string, req *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
	c.Helper()
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.ca(), Time: c.clock.now}
	if c.cert != nil {
		cfg.Certificates = []tls.Certificate{{Certificate: c.cert, PrivateKey: c.key}}
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test ends
	if req.Csr == nil {
		req.Csr = c.csr()
	}
	ctx, cancel := context.WithTimeout(c.Context(), 20*time.Second)
	defer cancel()
	res, err := syncv1.NewEnrollServiceClient(conn).Enroll(ctx, req)
	if err == nil {
		c.cert = res.GetChain()
	}
	return res, err
}

func (c *caller) leaf() *x509.Certificate {
	c.Helper()
	cert, err := x509.ParseCertificate(c.cert[0])
	if err != nil {
		c.Fatal(err)
	}
	return cert
}

// rootOf is the authority's certificate in DER.
func rootOf(r *rig) []byte {
	r.Helper()
	m := &configv1.Authority{}
	if err := proto.Unmarshal(r.head().Object.Body, m); err != nil {
		r.Fatal(err)
	}
	return m.GetCertificates()[0]
}
