//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/proto/attr"
)

const (
	// awayShort and awayLong are how long a control plane stays away, without and with SOAK; backWithin is how soon the fleet is in sync then.
	awayShort, awayLong, backWithin = 20 * time.Second, 10 * time.Minute, 60 * time.Second
	// idleShort and idleLong are how long another user of the etcd writes beside ours, and leastCompactions how often it compacts at least;
	// noiseEach is how many keys it writes in one go.
	idleShort, idleLong, leastCompactions, noiseEach = 20 * time.Second, 2 * time.Minute, 5, 200
)

// TestControlPlaneAwayForLongFailsNoCall kills the control plane under traffic and brings it back. Meanwhile a data plane starts anew, from its disk.
func TestControlPlaneAwayForLongFailsNoCall(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := startControl(t, "control", nil)
	names := []string{"proxy-1", "proxy-2", "proxy-3"}
	proxies := []*proxy{}
	for _, n := range names {
		proxies = append(proxies, startProxy(t, n, nil, []*control{c}))
	}
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")
	flows := []*traffic{}
	for _, p := range proxies[:2] {
		firstAnswer(t, p, key)
		flows = append(flows, startTraffic(t, p, "demo", key))
	}
	applied := []int{len(updates(proxies[0])), len(updates(proxies[1]))}

	c.kill()
	gone := time.Now()
	proxies[2].stop(t)
	exec := mark()
	proxies[2].again(t)
	boot := firstAnswer(t, proxies[2], key).Sub(exec.at)
	exec.within(t, "a data plane answered after its start", boot, bootLimit)
	<-time.After(time.Until(gone.Add(soakFor(t, awayShort, awayLong))))

	c.again(t)
	back := mark()
	c.inSync(t, names...)
	took := time.Since(back.at)
	for i, f := range flows {
		f.spotless(t, names[i])
		if n := len(updates(proxies[i])); n != applied[i] {
			t.Errorf("%s was sent %d updates although nothing had changed", names[i], n-applied[i])
		}
	}
	t.Logf("control plane away for %s: a data plane served %s after its start; all in sync %s after it was back", back.at.Sub(gone).Round(time.Second),
		boot.Round(time.Millisecond), took.Round(time.Millisecond))
	back.within(t, "in sync after it was back", took, backWithin)
}

// TestIdleConfigBesideABusyUserOfTheStoreIsNotReadAgain writes other keys of the same etcd and compacts it, while nobody changes any config.
func TestIdleConfigBesideABusyUserOfTheStoreIsNotReadAgain(t *testing.T) {
	t.Parallel() // most of it is waiting
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	ok(t, os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600))
	c := startControl(t, "control", nil, "--etcd", clients(members), "--kek-file", kek)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, server("demo", "http://127.0.0.1:9/mcp"))
	loads, applied := metric(t, c.Admin, attr.MetricStoreLoads), len(updates(p))
	limit := soakFor(t, idleShort, idleLong)
	written, compacted := 0, 0
	for end := time.Now().Add(limit); time.Now().Before(end) || compacted < leastCompactions; compacted++ {
		var b strings.Builder
		for i := range noiseEach {
			fmt.Fprintf(&b, "put elsewhere/%d %d\n", i, written+i)
		}
		// One transaction has at most 128 operations: the requests of a shell, one after the other.
		out := etcdctl(t, members[0], "--write-out", "fields", "put", "elsewhere/last", fmt.Sprint(written))
		inTransactions(t, members[0], b.String())
		written += noiseEach + 1
		etcdctl(t, members[0], "compact", field(out, "Revision"))
	}
	began := time.Now()
	c.apply(t, server("demo", "http://127.0.0.1:9/changed"))
	took := time.Since(began)
	more := metric(t, c.Admin, attr.MetricStoreLoads) - loads
	t.Logf("%d writes beside it and %d compactions in %s: %v whole reads of the store; the next change was in force after %s",
		written, compacted, limit, more, took.Round(time.Millisecond))
	if more != 0 || len(updates(p)) != applied+1 {
		t.Errorf("%v whole reads and %d updates; want 0 and 1", more, len(updates(p))-applied)
	}
}

func etcdctl(t *testing.T, m *member, args ...string) string {
	t.Helper()
	return must(t, 20*time.Second, program{Name: "etcdctl", Args: append([]string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", m.client}, args...)}, "")
}

// inTransactions makes the requests in transactions of at most 100.
func inTransactions(t *testing.T, m *member, puts string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(puts), "\n")
	for ; len(lines) > 0; lines = lines[min(100, len(lines)):] {
		in := "\n" + strings.Join(lines[:min(100, len(lines))], "\n") + "\n\n\n"
		must(t, 20*time.Second, program{Name: "etcdctl", Args: []string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", m.client, "txn"}}, in)
	}
}
