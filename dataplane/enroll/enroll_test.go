package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home signs like a control plane, without a wire.
type home struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu    sync.Mutex
	err   error       // guarded by mu
	joins int         // guarded by mu
	calls []time.Time // guarded by mu; that led to a certificate
}

func newHome(t *testing.T) *home {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &home{t: t, key: k, cert: cert}
}

func (h *home) pin() [32]byte { return sha256.Sum256(h.cert.RawSubjectPublicKeyInfo) }

func (h *home) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func (h *home) counts() (joins, calls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.joins, len(h.calls)
}

func (h *home) ask(_ context.Context, _ string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	if r.GetToken() != "" {
		h.joins++
	} else if len(cfg.Certificates) != 1 || !time.Now().Before(cfg.Certificates[0].Leaf.NotAfter) {
		return nil, status.Error(codes.Unavailable, "bad certificate")
	}
	h.calls = append(h.calls, time.Now())
	csr, err := x509.ParseCertificateRequest(r.GetCsr())
	if err != nil {
		return nil, err
	}
	u, _ := url.Parse("spiffe://hopgate/dp/eu/blue/" + r.GetNode())
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), URIs: []*url.URL{u}, NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}, h.cert, csr.PublicKey, h.key)
	return &syncv1.EnrollResponse{Chain: [][]byte{der}, Authorities: [][]byte{h.cert.Raw}, Region: "eu", Group: "blue"}, err
}

func (h *home) enroller(dir string, change func(*Config)) *Enroller {
	h.t.Helper()
	cfg := Config{Node: "n1", Dir: dir, Addresses: []string{"home:4002"}, Token: jointoken.New(h.pin()), Ask: h.ask, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

func tokenless(c *Config) { c.Token = jointoken.Token{} }

func TestARestartNeedsNoToken(t *testing.T) {
	h, dir := newHome(t), t.TempDir()
	first := h.enroller(dir, nil)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file(dir)); err != nil || info.Mode().Perm() != 0o600 || !Stored(dir) {
		t.Fatalf("%v %v", info, err)
	}
	again := h.enroller(dir, tokenless)
	if err := again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again.Region() != "eu" || again.Group() != "blue" || !bytes.Equal(again.TLS().Certificates[0].Certificate[0], first.TLS().Certificates[0].Certificate[0]) {
		t.Error("another certificate is in use")
	}
	if joins, _ := h.counts(); joins != 1 {
		t.Errorf("%d joins", joins)
	}
	if err := h.enroller(dir, func(c *Config) { c.Node = "n2" }).Start(t.Context()); err == nil || !strings.Contains(err.Error(), `"n1", not of "n2"`) {
		t.Errorf("state of another: %v", err)
	}
	if err := h.enroller(t.TempDir(), tokenless).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no join token") {
		t.Errorf("with nothing: %v", err)
	}
}

func TestDamagedStateIsReplacedWithATokenAndRefusedWithout(t *testing.T) {
	h, dir := newHome(t), t.TempDir()
	if err := h.enroller(dir, nil).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file(dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole)-40; n += 37 {
		if err := os.WriteFile(file(dir), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.enroller(dir, tokenless).Start(t.Context()); err == nil {
			t.Fatalf("the first %d bytes are taken", n)
		}
	}
	if err := h.enroller(dir, nil).Start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(file(dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.enroller(dir, tokenless).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestItIsRenewedAtTwoThirdsOfItsLifeForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dir := newHome(t), t.TempDir()
		e := h.enroller(dir, nil)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop := run(t, e)
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.joins != 1 || len(h.calls) < 14 || len(h.calls) > 18 {
			t.Errorf("%d joins, %d certificates in 10 days", h.joins, len(h.calls))
		}
		for i := range h.calls[1:] {
			if d := h.calls[i+1].Sub(h.calls[i]); d < 14*time.Hour || d > 16*time.Hour+time.Second {
				t.Errorf("renewed after %s", d)
			}
		}
		if !time.Now().Before(e.Expires()) {
			t.Error("the last one has ended")
		}
	})
}

func TestAnOutageAndAnEndedCertificateEndNothingElse(t *testing.T) {
	for name, withToken := range map[string]bool{"with a token": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, dir := newHome(t), t.TempDir()
				e := h.enroller(dir, nil)
				if err := e.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !withToken {
					e = h.enroller(dir, tokenless)
					if err := e.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				h.fail(status.Error(codes.Unavailable, "down"))
				stop := run(t, e)
				time.Sleep(20 * time.Hour)
				h.fail(nil) // before the end
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if joins, calls := h.counts(); joins != 1 || calls != 2 {
					t.Errorf("after the outage %d joins, %d certificates", joins, calls)
				}
				h.fail(status.Error(codes.Unavailable, "down"))
				time.Sleep(3 * 24 * time.Hour)
				h.fail(nil)
				time.Sleep(15 * time.Minute)
				synctest.Wait()
				stop()
				joins, _ := h.counts()
				if back := time.Now().Before(e.Expires()); back != withToken || (joins == 2) != withToken {
					t.Errorf("good again %v after %d joins", back, joins)
				}
			})
		})
	}
}

// run lets an enroller run until the function that is returned is called.
func run(t *testing.T, e *Enroller) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestARefusalEndsTheStartAndAnOutageDoesnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.fail(status.Error(codes.Unauthenticated, "the join token is unknown"))
		if err := h.enroller(t.TempDir(), nil).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("refused: %v", err)
		}
		h.fail(errors.New("no route"))
		time.AfterFunc(10*time.Minute, func() { h.fail(nil) })
		if err := h.enroller(t.TempDir(), nil).Start(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAnswerForAnotherIsRefused(t *testing.T) {
	h, other := newHome(t), newHome(t)
	for name, change := range map[string]func(*syncv1.EnrollResponse){
		"place":       func(r *syncv1.EnrollResponse) { r.Region = "us" },
		"authorities": func(r *syncv1.EnrollResponse) { r.Authorities = [][]byte{other.cert.Raw} },
		"none":        func(r *syncv1.EnrollResponse) { r.Chain = nil },
		"garbage":     func(r *syncv1.EnrollResponse) { r.Chain = [][]byte{{1}} },
		"CA":          func(r *syncv1.EnrollResponse) { r.Chain = r.Authorities },
	} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		e := h.enroller(dir, func(c *Config) {
			c.Ask = func(ctx context.Context, a string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
				res, err := h.ask(ctx, a, cfg, r)
				change(res)
				cancel()
				return res, err
			}
		})
		if err := e.Start(ctx); err == nil || Stored(dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
