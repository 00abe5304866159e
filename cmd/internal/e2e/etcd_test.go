//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// member is one node of a real etcd.
type member struct {
	*running
	name, client string
}

func startEtcd(t *testing.T) []*member {
	t.Helper()
	names := []string{"etcd-1", "etcd-2", "etcd-3"}
	hosts, peers := map[string]string{}, []string{}
	for _, n := range names {
		hosts[n] = ownHost()
		peers = append(peers, n+"=http://"+hosts[n]+":2380")
	}
	out := []*member{}
	for _, n := range names {
		client, peer := "http://"+hosts[n]+":2379", "http://"+hosts[n]+":2380"
		r := start(t, program{Name: n, Args: []string{tool(t, "E2E_ETCD", "etcd"), "--name", n, "--data-dir", filepath.Join(t.TempDir(), n), "--log-level", "warn",
			"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-state", "new", "--initial-cluster-token", "e2e"}})
		out = append(out, &member{r, n, client})
	}
	eventually(t, 30*time.Second, "etcd elects a leader", func() error { _, err := leader(t, out); return err })
	return out
}

// leader asks every living member who leads.
func leader(t *testing.T, members []*member) (*member, error) {
	t.Helper()
	for _, m := range members {
		if !m.alive() {
			continue
		}
		res := run(t, time.Minute, program{Name: "etcdctl", Args: []string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", m.client, "--command-timeout", "2s",
			"endpoint", "status", "--write-out", "fields"}}, "")
		if field(res.Out, "MemberID") != "" && field(res.Out, "MemberID") == field(res.Out, "Leader") {
			return m, nil
		}
	}
	return nil, errors.New("nobody leads")
}

// field is the value of a line like `"Leader" : 123`.
func field(out, name string) string {
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(line, " : "); ok && k == `"`+name+`"` {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func clients(members []*member) string {
	out := []string{}
	for _, m := range members {
		out = append(out, m.client)
	}
	return strings.Join(out, ",")
}

func TestNoAcknowledgedWriteIsLostWhenTheEtcdLeaderDies(t *testing.T) {
	t.Parallel() // most of it is waiting
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	one := startControl(t, "control-1", nil, "--etcd", clients(members), "--kek-file", kek)
	two := startControl(t, "control-2", nil, "--etcd", clients(members), "--kek-file", kek)
	startProxy(t, "proxy-1", nil, []*control{one, two})
	startProxy(t, "proxy-2", nil, []*control{two, one})

	w := writeThroughLeaderLoss(t, []*control{one, two}, members)
	t.Logf("%d writes, %d acknowledged at once, %d after settling an ambiguous answer, %d open %v; longest write %s", writes, w.clean, w.settled, len(w.refused), w.refused, w.longest.Round(time.Millisecond))
	sameRevision(t, one, two) // what one has acknowledged the other one shows a little later
	for _, c := range []*control{one, two} {
		c.holds(t, w)
	}
	sameDigest(t, one, two)
}

// writes is how many servers are written, writers at a time, alternating between the control planes.
const (
	writes  = 200
	writers = 4
)

// written is what became of the writes.
type written struct {
	mu             sync.Mutex
	acknowledged   map[string]string // server name to the URL that was acknowledged
	refused        []string          // names that stayed unwritten after every try
	clean, settled int
	longest        time.Duration
}

func writeThroughLeaderLoss(t *testing.T, controls []*control, members []*member) *written {
	t.Helper()
	w := &written{acknowledged: map[string]string{}}
	admins := []*operator.Client{controls[0].client(t), controls[1].client(t)}
	m, err := leader(t, members)
	if err != nil {
		t.Fatal(err)
	}
	calls(t, writes, writers, func(i int) error {
		if i == writes/3 {
			t.Logf("killing the leader, %s", m.name)
			m.kill()
		}
		name, url := fmt.Sprintf("s%03d", i), fmt.Sprintf("http://127.0.0.1:9/%d", i)
		began := time.Now()
		tries, err := put(t.Context(), admins, i, name, url)
		w.note(name, url, tries, time.Since(began), err)
		return nil
	})
	if len(w.acknowledged) < writes*9/10 {
		t.Errorf("only %d of %d writes were acknowledged", len(w.acknowledged), writes)
	}
	return w
}

func (w *written) note(name, url string, tries int, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = max(w.longest, took)
	switch {
	case err != nil:
		w.refused = append(w.refused, name+": "+err.Error())
		return
	case tries == 1:
		w.clean++
	default:
		w.settled++
	}
	w.acknowledged[name] = url
}

// put writes a server; an answer that leaves the outcome open is settled by the same request again, at the other control plane, which
// the request id makes safe.
func put(ctx context.Context, admins []*operator.Client, i int, name, url string) (tries int, err error) {
	req := &adminv1.PutServerRequest{Name: name, RequestId: fmt.Sprintf("0190a000-0000-7000-8000-%012d", i),
		Server: &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}}
	for tries = 1; tries <= 10; tries++ {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = admins[(i+tries)%len(admins)].PutServer(try, req)
		cancel()
		if err == nil {
			return tries, nil
		}
	}
	return tries, err
}

// holds checks that the control plane has every acknowledged write, and of the others nothing but what was sent.
func (c *control) holds(t *testing.T, w *written) {
	t.Helper()
	stored := map[string]string{}
	admin := c.client(t)
	for token := ""; ; {
		page, err := admin.ListServers(t.Context(), &adminv1.ListRequest{PageSize: 100, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetServers() {
			stored[s.GetName()] = s.GetSpec().GetEndpoints()[0].GetUrl()
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for name, url := range w.acknowledged {
		if stored[name] != url {
			t.Errorf("%s: the acknowledged write of %s is lost: stored is %q", c.Name, name, stored[name])
		}
	}
	if len(stored) < len(w.acknowledged) || len(stored) > len(w.acknowledged)+len(w.refused) {
		t.Errorf("%s has %d servers after %d acknowledged writes and %d open ones", c.Name, len(stored), len(w.acknowledged), len(w.refused))
	}
}

// sameDigest waits until both data planes hold the desired set and compares digests.
func sameDigest(t *testing.T, controls ...*control) {
	t.Helper()
	eventually(t, 30*time.Second, "both data planes hold the same set", func() error {
		seen := map[string][]byte{}
		for _, c := range controls {
			for name, n := range c.nodes(t) {
				if !n.GetConnected() {
					continue
				}
				if !n.GetInSync() {
					return fmt.Errorf("%s is behind, at revision %d", name, n.GetRevision())
				}
				seen[name] = n.GetDigest()
			}
		}
		if len(seen) != 2 || len(seen["proxy-1"]) == 0 || !bytes.Equal(seen["proxy-1"], seen["proxy-2"]) {
			return fmt.Errorf("digests %x", seen)
		}
		t.Logf("both data planes hold digest %s", hex.EncodeToString(seen["proxy-1"][:4]))
		return nil
	})
}
