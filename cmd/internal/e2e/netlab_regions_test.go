//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Regions 80 ms apart, and links between them that are cut: packets vanish and no connection is told so.

// noticed is the longest that a silent cut stays unnoticed: a keepalive that is due after 15 s and its answer's 10 s, and some for a busy machine.
const noticed = 35 * time.Second

// TestCutOffRegionWithARelayGrowsRestartsAndCatchesUp cuts a region off from home. A data plane that has never been there gets the whole
// config from the relay, one that was there serves on and restarts, operators see how old it all is, and after the cut it goes on.
func TestCutOffRegionWithARelayGrowsRestartsAndCatchesUp(t *testing.T) {
	t.Parallel() // most of it is waiting
	w := startWorld(t, regionsApart, "home", "eu")
	home := w.control(t, "home", "home")
	relay := w.relay(t, "eu", "relay-eu", home)
	first := w.proxy(t, "eu", "eu-1", relay)
	home.apply(t, w.everywhere(t, "demo", "home", "eu"))
	key := home.key(t, "caller", "*")
	firstAnswer(t, first, key)
	home.inSync(t, "relay-eu")

	ok(t, w.lab.Isolate("eu"))
	cut := time.Now()
	served := startTraffic(t, first, "demo", key)
	exec := mark()
	second := w.proxy(t, "eu", "eu-2", relay)
	took := firstAnswer(t, second, key).Sub(exec.at)
	t.Logf("home cut off: a new data plane answered its first call %s after exec", took.Round(time.Millisecond))
	exec.within(t, "a new data plane answered its first call after exec", took, joinLimit)
	change := home.put(t, "later", 1)
	seen := relay.stale(t, true)
	t.Logf("home cut off: the relay said so after %s: %s", time.Since(cut).Round(time.Millisecond), seen)
	served.spotless(t, "cut-off region with a relay")

	first.stop(t)
	began := time.Now()
	first.again(t)
	t.Logf("home cut off: a data plane answered %s after its restart", firstAnswer(t, first, key).Sub(began).Round(time.Millisecond))

	ok(t, w.lab.Rejoin("eu"))
	healed := time.Now()
	for _, p := range []string{"eu-1", "eu-2"} {
		relay.reaches(t, p, change)
	}
	t.Logf("healed after %s: a change made at home meanwhile is in force in the region %s later",
		healed.Sub(cut).Round(time.Second), time.Since(healed).Round(time.Millisecond))
	relay.stale(t, false)
	next := time.Now()
	relay.reaches(t, "eu-2", home.put(t, "later", 2))
	t.Logf("the next change is in force %s after it was asked for", time.Since(next).Round(time.Millisecond))
}

// TestThreeRegionsOneCutOffTheOthersGoOn has a relay in one region and data planes without one in two others. Home is cut off from one region of
// either sort; the third one is served by home as ever.
func TestThreeRegionsOneCutOffTheOthersGoOn(t *testing.T) {
	t.Parallel() // most of it is waiting
	w := startWorld(t, regionsApart, "home", "eu", "us", "ap")
	home := w.control(t, "home", "home")
	relay := w.relay(t, "eu", "relay-eu", home)
	proxies := map[string]*proxy{"eu": w.proxy(t, "eu", "eu-1", relay), "us": w.proxy(t, "us", "us-1", home), "ap": w.proxy(t, "ap", "ap-1", home)}
	home.apply(t, w.everywhere(t, "demo", "eu", "us", "ap"))
	key := home.key(t, "caller", "*")
	flows := map[string]*traffic{}
	for region, p := range proxies {
		firstAnswer(t, p, key)
		flows[region] = startTraffic(t, p, "demo", key)
	}

	ok(t, w.lab.Isolate("eu"))
	ok(t, w.lab.Isolate("us"))
	began := time.Now()
	change := home.put(t, "later", 1)
	home.reaches(t, "ap-1", change)
	t.Logf("eu and us cut off: a change is in force in ap %s after it was asked for", time.Since(began).Round(time.Millisecond))
	staleWithin(t, proxies["us"], noticed)
	for region, p := range map[string]*proxy{"eu": proxies["eu"], "us": proxies["us"]} {
		if r, err := p.readiness(); err != nil || r.Revision >= change {
			t.Errorf("%s is cut off and says %+v %v; the change is revision %d", region, r, err, change)
		}
	}

	ok(t, w.lab.Rejoin("eu"))
	ok(t, w.lab.Rejoin("us"))
	healed := time.Now()
	home.reaches(t, "us-1", change)
	direct := time.Since(healed)
	relay.reaches(t, "eu-1", change)
	t.Logf("healed: the change is in force in us after %s, in eu behind its relay after %s",
		direct.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	for region, f := range flows {
		f.spotless(t, region)
	}
}

// put writes a server that nobody calls and returns the revision of the change.
func (c *control) put(t *testing.T, name string, n int) (revision int64) {
	t.Helper()
	change, err := c.client(t).CreateChange(t.Context(), &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{{Object: &adminv1.Object_Server{
		Server: reaching(name, fmt.Sprintf("http://127.0.0.1:9/%d", n))}}}})
	ok(t, err)
	return change.GetRevision()
}

// reaches waits until a data plane of this control plane has a revision in force.
func (c *control) reaches(t *testing.T, node string, revision int64) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%s at revision %d", node, revision), func() error {
		if n := c.nodes(t)[node]; n.GetRevision() < revision {
			return fmt.Errorf("it is at %d, connected %v", n.GetRevision(), n.GetConnected())
		}
		return nil
	})
}

// stale waits until the control plane says, in GetInfo and in hopgate status, that its store or its home is out of reach, or that it isn't.
func (c *control) stale(t *testing.T, want bool) (said string) {
	t.Helper()
	eventually(t, noticed, fmt.Sprintf("%s says stale=%v", c.Name, want), func() error {
		info, err := c.client(t).GetInfo(t.Context(), &adminv1.GetInfoRequest{})
		if err != nil {
			return err
		}
		if got := info.GetStaleSeconds() > 0; got != want {
			return fmt.Errorf("%v", info)
		}
		return nil
	})
	status := c.command(t, "", nil, "status")
	for line := range strings.Lines(status.Out + status.Err) {
		if strings.Contains(line, "out of reach") {
			said = strings.TrimSpace(line)
		}
	}
	if (said != "") != want {
		t.Errorf("%s: hopgate status says %q, want stale=%v:\n%v", c.Name, said, want, status)
	}
	return said
}

func staleWithin(t *testing.T, p *proxy, limit time.Duration) {
	t.Helper()
	eventually(t, limit, p.Name+" says that it is stale", func() error {
		r, err := p.readiness()
		if err == nil && !r.Stale {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
}

// metric reads one metric without labels from a page of metrics; the master key opens that of a control plane.
func metric(t *testing.T, admin, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/metrics", nil)
	ok(t, err)
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := quick.Do(req)
	ok(t, err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	ok(t, err)
	for line := range strings.Lines(string(page)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			ok(t, err)
			return n
		}
	}
	t.Fatalf("%s has no metric %s (%s)", admin, name, res.Status)
	return 0
}

// digest is what a data plane holds, as its control plane heard it.
func (c *control) digest(t *testing.T, node string) string {
	t.Helper()
	return hex.EncodeToString(c.nodes(t)[node].GetDigest())
}

// refusedWrite tries to write within the limit and returns how long the answer took; anything but 503 is a failure.
func (c *control) refusedWrite(t *testing.T, object string, limit time.Duration) time.Duration {
	t.Helper()
	asked := mark()
	ctx, cancel := context.WithTimeout(t.Context(), (1+mostStretch)*limit)
	defer cancel()
	status, _, no, err := c.putLabels(ctx, object, "never", "", map[string]string{"v": "never"})
	took := time.Since(asked.at)
	if err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("a write without a store: status %d after %s, %+v %v; it has to be 503 within %s", status, took.Round(time.Millisecond), no, err, limit)
	}
	asked.within(t, "a write without a store is refused", took, limit)
	return took
}
