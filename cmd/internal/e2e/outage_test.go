//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// bootLimit is what a data plane may take from exec to its first answered call without a control plane.
const bootLimit = 500 * time.Millisecond

func TestControlPlaneOutageCostsNoCallAndNoRestart(t *testing.T) {
	c := startControl(t, "control", nil)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")

	c.kill()
	took := calls(t, 1000, 8, func(n int) error { return echo(p.url("demo"), key, fmt.Sprint(n)) })
	t.Logf("1000 calls without a control plane in %s, none failed", took.Round(time.Millisecond))
	staleness(t, p, true)

	p.stop(t)
	exec := mark()
	p.again(t)
	first := firstAnswer(t, p, key)
	t.Logf("data plane restarted without a control plane: first answered call %s after exec", first.Sub(exec.at).Round(time.Millisecond))
	exec.within(t, "the first call was answered after exec", first.Sub(exec.at), bootLimit)

	began := time.Now()
	c.again(t)
	c.inSync(t, "proxy")
	t.Logf("control plane back, fleet in sync after %s", time.Since(began).Round(time.Millisecond))
	c.apply(t, server("second", demoServer(t)))
	second := c.key(t, "later", "second")
	if err := echo(p.url("second"), second, "news"); err != nil {
		t.Errorf("a server added after the outage: %v", err)
	}
	staleness(t, p, false)
}

// calls makes n calls, some at a time, and fails with the first errors.
func calls(t *testing.T, n, at int, call func(n int) error) time.Duration {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	began := time.Now()
	for range at {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := call(int(i)); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		t.Errorf("%d of %d calls failed, among them: %v", len(failed), n, errors.Join(failed[:min(3, len(failed))]...))
	}
	return time.Since(began)
}

// firstAnswer calls until it is answered.
func firstAnswer(t *testing.T, p *proxy, key string) time.Time {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var err error
	for end := time.Now().Add(shown); time.Now().Before(end); <-tick.C {
		if err = echo(p.url("demo"), key, "first"); err == nil {
			return time.Now()
		}
	}
	t.Fatalf("no call was answered within %s: %v", shown, err)
	return time.Time{}
}

// readiness is the body of /readyz.
type readiness struct {
	Status   string
	Revision int64
	Stale    bool
	Suspect  bool
}

func (p *proxy) readiness() (readiness, error) {
	res, err := quick.Get("http://" + p.Listen + "/readyz")
	if err != nil {
		return readiness{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var r readiness
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		return r, err
	}
	if res.StatusCode != http.StatusOK {
		return r, fmt.Errorf("not ready: %s", res.Status)
	}
	return r, nil
}

// provenGood waits until the data plane wrote to disk that its config has served long enough: the first write half a minute after the change.
func (p *proxy) provenGood(t *testing.T) {
	t.Helper()
	applied := time.Now()
	eventually(t, time.Minute, "the config is marked good", func() error { return p.wroteLater(applied) })
}

// wroteLater fails unless the data plane last wrote to disk 20 s or more after a change: then that has served long enough.
func (p *proxy) wroteLater(applied time.Time) error {
	last := applied
	err := filepath.WalkDir(p.State, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	if err == nil && last.Sub(applied) < 20*time.Second {
		err = fmt.Errorf("%s: last written %s after the change", p.Name, last.Sub(applied))
	}
	return err
}

func staleness(t *testing.T, p *proxy, want bool) {
	t.Helper()
	eventually(t, shown, fmt.Sprintf("/readyz says stale=%v", want), func() error {
		r, err := p.readiness()
		if err == nil && r.Stale != want {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
}

func TestConfigThatCrashesADataPlaneIsNotBootedAgain(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := startControl(t, "control", nil)
	demo := demoServer(t)
	c.apply(t, server("demo", demo))
	key := c.key(t, "caller", "*")
	p := startProxy(t, "proxy", nil, []*control{c})
	c.settled(t)
	p.stop(t)
	if err := os.RemoveAll(p.State); err != nil { // a new data plane: the whole config is the first it gets, and so the first to be good
		t.Fatal(err)
	}
	p.again(t)
	p.wait(t)
	p.provenGood(t)
	good, err := p.readiness()
	if err != nil {
		t.Fatal(err)
	}

	c.apply(t, server("deadly", demo))
	if err := echo(p.url("deadly"), key, "served"); err != nil {
		t.Fatalf("the new config isn't served: %v", err)
	}
	p.signal(syscall.SIGKILL) // what a crash under the new config looks like
	<-p.ended
	p.again(t)
	p.wait(t)
	if err := echo(p.url("demo"), key, "still here"); err != nil {
		t.Errorf("the older good config isn't served: %v", err)
	}
	if a, err := post(p.url("deadly"), key, toolCall("echo", nil)); err != nil || a.Status != http.StatusNotFound {
		t.Errorf("a server of the suspect config: %v, status %d, want 404", err, a.Status)
	}
	eventually(t, shown, "readyz and the fleet say suspect", func() error {
		r, err := p.readiness()
		if err != nil {
			return err
		}
		if !r.Suspect || r.Revision != good.Revision {
			return fmt.Errorf("%+v, want suspect at revision %d", r, good.Revision)
		}
		if status := c.command(t, "", nil, "status").Out; !strings.Contains(status, "suspect") {
			return fmt.Errorf("hopgate status:\n%s", status)
		}
		return nil
	})
	t.Logf("hopgate status:\n%s", c.command(t, "", nil, "status").Out)

	c.apply(t, server("deadly", demoServer(t)))
	eventually(t, shown, "a changed config clears the suspicion", func() error {
		r, err := p.readiness()
		if err == nil && (r.Suspect || r.Revision <= good.Revision) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if err := echo(p.url("deadly"), key, "cured"); err != nil {
		t.Errorf("the changed config isn't served: %v", err)
	}
	c.inSync(t, "proxy")
}
