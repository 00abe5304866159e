package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// answering changes what home answers, once a data plane has joined.
func (h *home) answering(t *testing.T, change func(cfg *tls.Config, r *syncv1.EnrollRequest, res *syncv1.EnrollResponse)) *Enroller {
	t.Helper()
	e := h.enroller(t.TempDir(), func(c *Config) {
		c.Ask = func(ctx context.Context, a string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
			res, err := h.ask(ctx, a, cfg, r)
			if err == nil && r.GetToken() == "" {
				change(cfg, r, res)
			}
			return res, err
		}
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWhomToTrustIsHomesToSayAndNoRelays(t *testing.T) {
	h, evil := newHome(t), newHome(t)
	ca, leaf := newKey(t), newKey(t)
	relay := signed(t, &x509.Certificate{IsCA: true, MaxPathLenZero: true}, "spiffe://hopgate/relay/eu/r", ca.Public(), h.cert, h.key)
	server := signed(t, &x509.Certificate{DNSNames: []string{"home"}}, "", leaf.Public(), relay, ca)
	for name, tc := range map[string]struct {
		shown []*x509.Certificate
		want  int
	}{"a relay": {[]*x509.Certificate{server, relay, h.cert}, 1}, "home": {[]*x509.Certificate{server, h.cert}, 2}} {
		e := h.answering(t, func(cfg *tls.Config, _ *syncv1.EnrollRequest, res *syncv1.EnrollResponse) {
			if err := cfg.VerifyConnection(tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{tc.shown}}); err != nil {
				t.Error(err)
			}
			res.Authorities = append(res.Authorities, evil.cert.Raw)
		})
		if err := e.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept, err := load(e.cfg.Dir, nil)
		if err != nil || len(kept.authorities) != tc.want || len(e.current.Load().authorities) != tc.want {
			t.Errorf("%s: %d authorities are trusted, want %d: %v", name, len(kept.authorities), tc.want, err)
		}
	}
}

func TestARenewedCertificateStandsWhereTheOneBeforeDidAndLeadsToWhoIsTrusted(t *testing.T) {
	h, evil := newHome(t), newHome(t)
	by := func(from *home, uri string) func(*tls.Config, *syncv1.EnrollRequest, *syncv1.EnrollResponse) {
		return func(_ *tls.Config, r *syncv1.EnrollRequest, res *syncv1.EnrollResponse) {
			csr, err := x509.ParseCertificateRequest(r.GetCsr())
			if err != nil {
				t.Error(err)
				return
			}
			res.Region = strings.Split(uri, "/")[4]
			res.Chain = [][]byte{signed(t, &x509.Certificate{}, uri, csr.PublicKey, from.cert, from.key).Raw}
		}
	}
	for name, tc := range map[string]struct {
		change func(*tls.Config, *syncv1.EnrollRequest, *syncv1.EnrollResponse)
		says   string
	}{
		"another region":    {by(h, "spiffe://hopgate/dp/us/blue/n1"), "to move, join"},
		"another authority": {by(evil, "spiffe://hopgate/dp/eu/blue/n1"), "the certificate that came"},
	} {
		e := h.answering(t, tc.change)
		before := e.current.Load()
		if err := e.renew(t.Context()); err == nil || !strings.Contains(err.Error(), tc.says) || e.current.Load() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// clocked is an enroller that has joined and runs, on a clock that is ahead of home's.
func (h *home) clocked(t *testing.T, ahead *atomic.Int64) (stop func()) {
	t.Helper()
	e := h.enroller(t.TempDir(), func(c *Config) {
		c.Now, c.Log = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, slog.New(slog.DiscardHandler)
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run(t, e)
}

func TestAClockThatIsFarAheadAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ahead := newHome(t), &atomic.Int64{}
		ahead.Store(int64(20 * time.Hour))
		stop := h.clocked(t, ahead)
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if _, calls := h.counts(); calls < 2 || calls > 14 {
			t.Errorf("%d certificates within an hour", calls)
		}
	})
}

func TestAClockThatIsSetMissesNoRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ahead := newHome(t), &atomic.Int64{}
		ahead.Store(int64(-10 * time.Hour))
		stop := h.clocked(t, ahead)
		time.Sleep(time.Hour)
		ahead.Store(0)
		time.Sleep(15*time.Hour + 10*time.Minute)
		synctest.Wait()
		stop()
		if _, calls := h.counts(); calls != 2 {
			t.Errorf("%d certificates after two thirds of the first one's life", calls)
		}
	})
}
