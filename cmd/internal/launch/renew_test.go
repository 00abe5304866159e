package launch_test

import (
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// ahead is a clock that tests set forward.
type ahead struct{ by atomic.Int64 }

func (a *ahead) now() time.Time { return time.Now().Add(time.Duration(a.by.Load())) }

// later makes its next reading d later.
func (a *ahead) later(d time.Duration) { a.by.Add(int64(d)) }

var (
	adminAddress = regexp.MustCompile(`admin=([0-9.:]+)`)
	dataAddress  = regexp.MustCompile(`data plane listens" address=([0-9.:]+) admin=([0-9.:]+)`)
)

// aged is a data plane whose certificate ages by a clock.
func aged(t *testing.T, at, dir string, join jointoken.Token, clock *ahead) *machine {
	t.Helper()
	out := &paper{}
	p := (&launch.Proxy{Node: "n1", Control: []string{at}, Join: join, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", StateDir: dir, AccessFormat: "off", Access: out,
		Log: slog.New(slog.NewTextHandler(out, nil))}).At(clock.now)
	m := boot(t, p.Run, nil, out)
	until(t, "the data plane listens", func() bool { return dataAddress.MatchString(out.String()) })
	return m
}

// page reads one; empty: it can't be read.
func page(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url) //nolint:gosec // an address of the test's own
	if err != nil {
		return ""
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

func TestACertificateIsRenewedAndItsEndStopsUpdatesAlone(t *testing.T) {
	clock := &ahead{}
	log := &paper{}
	c := (&launch.Control{DataDir: t.TempDir(), Admin: "127.0.0.1:0", Sync: "127.0.0.1:0", SyncNames: launch.SyncNames(nil, "127.0.0.1:0", ""), MasterKey: "a master key that is long enough",
		Replica: "r", Log: slog.New(slog.NewTextHandler(log, nil))}).At(clock.now)
	boot(t, c.Run, nil, log)
	until(t, "the control plane listens", func() bool { return syncAddress.MatchString(log.String()) })
	admin, err := operator.Connect(operator.Access{API: "http://" + adminAddress.FindStringSubmatch(log.String())[1], Key: "a master key that is long enough"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	at, dir := syncAddress.FindStringSubmatch(log.String())[1], t.TempDir()

	first := aged(t, at, dir, joinToken(t, admin), clock)
	until(t, "the data plane is connected", func() bool { return connected(t, admin, "n1") })
	ends := certificateEnd(t, admin)
	if left := ends.Sub(clock.now()); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the control plane says that the certificate ends in %s", left)
	}
	metrics := page(t, "http://"+dataAddress.FindStringSubmatch(first.log.String())[2]+"/metrics")
	if !strings.Contains(metrics, "hopgate_certificate_expire_time_seconds 1.") {
		t.Error("no metric says when the certificate ends")
	}
	_ = first.end(t)

	clock.later(17 * time.Hour) // more than two thirds of its life
	second := aged(t, at, dir, jointoken.Token{}, clock)
	until(t, "the certificate is renewed", func() bool { return strings.Contains(second.log.String(), "new certificate") })
	_ = second.end(t)
	third := aged(t, at, dir, jointoken.Token{}, clock)
	until(t, "it is connected with the new one", func() bool { return connected(t, admin, "n1") && certificateEnd(t, admin).After(ends) })
	_ = third.end(t)

	clock.later(25 * time.Hour)
	last := aged(t, at, dir, jointoken.Token{}, clock)
	until(t, "it says that the certificate has ended", func() bool { return strings.Contains(last.log.String(), "the stored certificate has ended") })
	until(t, "it can't connect", func() bool { return strings.Contains(last.log.String(), "control plane stream ended") })
	if connected(t, admin, "n1") {
		t.Error("an ended certificate is taken")
	}
	if ready := page(t, "http://"+dataAddress.FindStringSubmatch(last.log.String())[1]+"/readyz"); !strings.Contains(ready, `"stale"`) {
		t.Errorf("it doesn't serve its last good config: %s", ready)
	}
}

// certificateEnd is when the certificate of n1 ends, as the control plane sees it.
func certificateEnd(t *testing.T, c *operator.Client) time.Time {
	t.Helper()
	res, err := c.ListNodes(t.Context(), &adminv1.ListRequest{})
	if err != nil || len(res.GetNodes()) != 1 {
		t.Fatal(res, err)
	}
	return res.GetNodes()[0].GetCertificateExpireTime().AsTime()
}
