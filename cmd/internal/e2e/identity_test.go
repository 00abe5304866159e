//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Data planes get their certificates from the fleet's own authority: no files but a token.

// joinToken makes a join token with the operator's command, and returns a file with it.
func (c *control) joinToken(t *testing.T, flags ...string) (file, token string) {
	t.Helper()
	res := c.command(t, "", nil, append([]string{"token", "create", "--region", "eu"}, flags...)...)
	if res.Code != 0 {
		t.Fatalf("token create: %v", res)
	}
	return tokenFile(t, res.Out), strings.TrimSpace(res.Out)
}

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// joins starts a data plane with nothing but a token.
func joins(t *testing.T, name, file string, controls ...*control) *proxy {
	t.Helper()
	return startProxy(t, name, nil, controls, "--join-file", file)
}

// joinRefused checks that a data plane with a token ends, and says why.
func joinRefused(t *testing.T, file, says string, controls ...*control) {
	t.Helper()
	sync := []string{}
	for _, c := range controls {
		sync = append(sync, c.Sync)
	}
	host := ownHost()
	res := run(t, 20*time.Second, program{Name: "refused", Args: []string{hopgate(t), "proxy", "--node", "refused", "--control", strings.Join(sync, ","), "--listen", host + ":4000",
		"--admin", host + ":4003", "--state-dir", filepath.Join(t.TempDir(), "state"), "--join-file", file}}, "")
	if res.Code == 0 || !strings.Contains(res.Err+res.Out, says) {
		t.Errorf("a token that must be refused with %q: %v", says, res)
	}
}

// identities is two control planes on one etcd that give certificates.
func identities(t *testing.T) []*control {
	t.Helper()
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--etcd", clients(members), "--kek-file", kek, "--sync-identity", "auto"}
	return []*control{startControl(t, "control-1", nil, flags...), startControl(t, "control-2", nil, flags...)}
}

func TestDataPlanesJoinWithTokensAndAreShutOutOnEveryControlPlane(t *testing.T) {
	c := identities(t)
	one, two := c[0], c[1]
	single, _ := one.joinToken(t, "-m", "rack 1")
	several, text := two.joinToken(t, "--uses", "2", "--ttl", "1h")
	fleet := []*proxy{joins(t, "n1", single, one, two), joins(t, "n2", several, two, one), joins(t, "n3", several, two, one)}
	two.inSync(t, "n2", "n3")

	joinRefused(t, single, "is used up (1 of 1); ask for a new one: hopgate token create", one)
	ended, _ := one.joinToken(t, "--ttl", "1s")
	parts := strings.Split(text, "_")
	joinRefused(t, tokenFile(t, strings.Join([]string{parts[0], parts[1], parts[2], strings.Repeat("0", 64)}, "_")), "doesn't lead to the authority of the join token", two, one)
	eventually(t, shown, "the token ends", func() error {
		if res := one.command(t, "", nil, "token", "list"); res.Code != 0 || strings.Count(res.Out, "\n") != 3 {
			return fmt.Errorf("%v", res)
		}
		return nil
	})
	joinRefused(t, ended, "ended at ", one)

	one.apply(t, server("demo", demoServer(t)))
	key := one.key(t, "caller", "demo")
	var failed, made atomic.Int64
	stop := keepCalling(t, fleet, key, &made, &failed)
	for _, control := range c {
		control.stop(t)
	}
	for _, control := range c {
		control.again(t)
	}
	eventually(t, 30*time.Second, "all are back with the certificates they have", func() error { return together(t, c, "n1", "n2", "n3") })

	// n2 is shut out through the control plane that it isn't connected to.
	near, far := one, two
	if two.nodes(t)["n2"].GetConnected() {
		near, far = two, one
	}
	began := mark()
	if res := far.command(t, "", nil, "node", "revoke", "n2", "-m", "stolen"); res.Code != 0 {
		t.Fatal(res)
	}
	near.lost(t, "n2")
	took := time.Since(began.at)
	t.Logf("shut out %s after the command was started", took.Round(time.Millisecond))
	began.within(t, "shut out after the command was started", took, gone)
	eventually(t, 20*time.Second, "it says why", func() error {
		if out := fleet[1].output(); !strings.Contains(out, "is revoked") {
			return errors.New(tail(out, 5))
		}
		return nil
	})
	staleness(t, fleet[1], true)
	if err := echo(fleet[1].url("demo"), key, "from the last good config"); err != nil {
		t.Errorf("the revoked data plane's callers: %v", err)
	}
	stop()
	t.Logf("%d calls, %d failed", made.Load(), failed.Load())

	readmitted(t, one, fleet[1], c)
}

// readmitted lets a data plane that was shut out come back with a new token.
func readmitted(t *testing.T, at *control, p *proxy, all []*control) {
	t.Helper()
	if res := at.command(t, "", nil, "node", "revoke", p.Name, "--readmit", "-m", "set up anew"); res.Code != 0 {
		t.Fatal(res)
	}
	p.stop(t)
	if err := os.RemoveAll(p.State); err != nil {
		t.Fatal(err)
	}
	fresh, text := at.joinToken(t, "--node", p.Name)
	for i, arg := range p.Args {
		if arg == "--join-file" {
			p.Args[i+1] = fresh
		}
	}
	p.again(t)
	p.wait(t)
	eventually(t, 30*time.Second, "it is back", func() error { return together(t, all, p.Name) })
	for _, r := range []*running{p.running, all[0].running, all[1].running} {
		if strings.Contains(r.output(), strings.Split(text, "_")[2]) {
			t.Errorf("%s logs the token", r.Name)
		}
	}
}

// together checks that data planes are connected somewhere, and in sync.
func together(t *testing.T, all []*control, names ...string) error {
	t.Helper()
	good := map[string]bool{}
	for _, c := range all {
		for name, n := range c.nodes(t) {
			good[name] = good[name] || n.GetConnected() && n.GetInSync() && n.GetRegion() == "eu"
		}
	}
	for _, n := range names {
		if !good[n] {
			return fmt.Errorf("%s isn't", n)
		}
	}
	return nil
}

// keepCalling calls every data plane again and again until the function that is returned is called; a call that fails is an error of the test.
func keepCalling(t *testing.T, fleet []*proxy, key string, made, failed *atomic.Int64) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			made.Add(1)
			if err := echo(fleet[i%len(fleet)].url("demo"), key, "still"); err != nil {
				failed.Add(1)
				t.Errorf("a call failed: %v", err)
			}
		}
	}()
	return func() { close(quit); <-done }
}
