//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A limit holds over the whole fleet, whatever part of it each data plane's callers want, and without a control plane.

// settling is how long demand may have been there before it is measured: it is told every half second, and shares follow in two rounds.
const settling = 3

// trio is a control plane with a data plane in each of three regions, and the demo server behind all of them.
func trio(t *testing.T) (c *control, fleet []*proxy) {
	t.Helper()
	c = startControl(t, "control", nil)
	for _, region := range []string{"eu", "us", "ap"} {
		fleet = append(fleet, startProxy(t, "proxy-"+region, nil, []*control{c}, "--region", region))
	}
	c.inSync(t, "proxy-eu", "proxy-us", "proxy-ap")
	c.apply(t, server("demo", demoServer(t)))
	return c, fleet
}

func TestLimitsHoldOverThreeDataPlanes(t *testing.T) {
	c, fleet := trio(t)
	key := c.key(t, "limited", "demo", "--rate", "100/s")

	within := offer(t, fleet, key, 90, 5, 5)
	within.over(settling)
	if m := within.over(10); !m.between(t, "demand 90/5/5, as much as the limit", 90, 110) {
		t.Errorf("a limit of 100/s lets %.1f/s pass of a demand of 100/s", m.total)
	}
	within.end(t)

	beyond := offer(t, fleet, key, 900, 50, 50)
	beyond.over(settling)
	if m := beyond.over(30); !m.between(t, "demand 900/50/50", 90, 110) {
		t.Errorf("a limit of 100/s lets %.1f/s pass", m.total)
	}
	c.kill()
	if m := beyond.over(10); !m.between(t, "demand 900/50/50, control plane dead", 90, 110) {
		t.Errorf("a limit of 100/s lets %.1f/s pass without a control plane", m.total)
	}
	beyond.end(t)
	beyond.explained(t, "limited")
}

func TestLimitsHoldOverSeveralControlPlanes(t *testing.T) {
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--etcd", clients(members), "--kek-file", kek, "--replica", "one-name-for-both"}
	one, two := startControl(t, "control-1", nil, flags...), startControl(t, "control-2", nil, flags...)
	fleet := []*proxy{startProxy(t, "proxy-1", nil, []*control{one})}
	one.apply(t, server("demo", demoServer(t)))
	key := one.key(t, "limited", "demo", "--rate", "50/s")
	alone := offer(t, fleet, key, 150)
	alone.over(settling + settling) // a control plane that starts waits for data planes of an earlier one
	if m := alone.over(5); !m.between(t, "a control plane with a data plane, one without", 45, 55) {
		t.Errorf("a limit of 50/s lets %.1f/s pass", m.total)
	}
	alone.end(t)

	fleet = append(fleet, startProxy(t, "proxy-2", nil, []*control{two}))
	both := offer(t, fleet, key, 150, 150)
	both.over(settling + settling)
	if m := both.over(10); !m.between(t, "two control planes with a data plane each", 40, 55) {
		t.Errorf("a limit of 50/s lets %.1f/s pass", m.total)
	}
	two.kill()
	if m := both.over(5); !m.between(t, "one of them killed", 40, 55) {
		t.Errorf("a limit of 50/s lets %.1f/s pass after a control plane died", m.total)
	}
	both.end(t)
}

// demand is calls towards some data planes at steady rates.
type demand struct {
	nodes  []*taker
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// taker is what became of the calls to one data plane.
type taker struct {
	offered, passed, refused, late, odd atomic.Int64

	mu      sync.Mutex
	refusal *answer // the first; guarded by mu
	oddity  string  // the first answer that is neither; guarded by mu
}

// pacing is how often calls that are due are sent.
const pacing = 5 * time.Millisecond

// offer makes calls with a key, so many a second to each data plane, until end.
func offer(t *testing.T, fleet []*proxy, key string, perSecond ...int) *demand {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &demand{cancel: cancel}
	t.Cleanup(func() { cancel(); d.done.Wait() })
	for i, rate := range perSecond {
		n := &taker{}
		d.nodes = append(d.nodes, n)
		due := make(chan struct{}, 4+rate/10)
		d.done.Go(func() { pace(ctx, n, rate, due) })
		callers := 4 + rate/50
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
		for range callers {
			d.done.Go(func() {
				for range due {
					n.call(client, fleet[i].url("demo"), key)
				}
			})
		}
		context.AfterFunc(ctx, client.CloseIdleConnections)
	}
	return d
}

// pace says when calls are due. Those that nobody is free to make in time are left out.
func pace(ctx context.Context, n *taker, rate int, due chan<- struct{}) {
	defer close(due)
	tick := time.NewTicker(pacing)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for want := int(time.Since(began).Seconds() * float64(rate)); sent < want; sent++ {
			select {
			case due <- struct{}{}:
				n.offered.Add(1)
			default:
				n.late.Add(1)
			}
		}
	}
}

var echoCall = []byte(toolCall("echo", map[string]any{"message": "hello"}))

func (n *taker) call(client *http.Client, url, key string) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(echoCall))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := client.Do(req)
	if err != nil {
		n.strange(err.Error())
		return
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		n.strange(err.Error())
	case res.StatusCode == http.StatusOK && bytes.Contains(body, []byte("Echo: hello")):
		n.passed.Add(1)
	case res.StatusCode == http.StatusTooManyRequests:
		if n.refused.Add(1) == 1 {
			n.mu.Lock()
			n.refusal = &answer{res.StatusCode, res.Header, string(body)}
			n.mu.Unlock()
		}
	default:
		n.strange(fmt.Sprintf("%s: %s", res.Status, body))
	}
}

func (n *taker) strange(what string) {
	if n.odd.Add(1) == 1 {
		n.mu.Lock()
		n.oddity = what
		n.mu.Unlock()
	}
}

// measured are rates over a time: calls let pass, and offered, a second.
type measured struct {
	passed, offered []float64 // per data plane
	total           float64
	seconds         []int64 // all that passed, second by second
	stalled         float64 // share of the time in which the callers themselves didn't run
}

// over measures for some seconds from now.
func (d *demand) over(seconds int) measured {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var m measured
	passed, offered := d.counts()
	began, last := mark(), sum(passed)
	for range seconds {
		<-tick.C
		now, _ := d.counts()
		m.seconds, last = append(m.seconds, sum(now)-last), sum(now)
	}
	passed2, offered2 := d.counts()
	took := time.Since(began.at).Seconds()
	m.stalled = min(mostStalled, (time.Duration(late.Load())-began.late).Seconds()/took)
	for i := range passed {
		m.passed = append(m.passed, float64(passed2[i]-passed[i])/took)
		m.offered = append(m.offered, float64(offered2[i]-offered[i])/took)
		m.total += m.passed[i]
	}
	return m
}

func (d *demand) counts() (passed, offered []int64) {
	for _, n := range d.nodes {
		passed, offered = append(passed, n.passed.Load()), append(offered, n.offered.Load())
	}
	return passed, offered
}

func sum(n []int64) (total int64) {
	for _, x := range n {
		total += x
	}
	return total
}

// mostStalled is the largest share of its time that a measurement may be stalled for, and need that much less.
const mostStalled = 0.3

// between logs what was measured and reports whether it lies there. While the callers stall nobody calls, so less may pass then, and never more.
func (m measured) between(t *testing.T, what string, low, high float64) bool {
	t.Helper()
	t.Logf("%s: %.1f/s pass over %d s (%.1f), offered %.0f; in one second %d to %d; callers stalled for %.1f %% of the time", what, m.total, len(m.seconds),
		m.passed, m.offered, slices.Min(m.seconds), slices.Max(m.seconds), 100*m.stalled)
	return low*(1-m.stalled) <= m.total && m.total <= high
}

// end stops the calls and checks that every call either passed or was refused.
func (d *demand) end(t *testing.T) {
	t.Helper()
	d.cancel()
	d.done.Wait()
	for i, n := range d.nodes {
		if n.odd.Load() > 0 {
			t.Errorf("data plane %d: %d of %d calls had another answer, among them: %s", i, n.odd.Load(), n.offered.Load(), n.oddity)
		}
		if late := n.late.Load(); late > n.offered.Load() {
			t.Errorf("data plane %d: %d calls weren't made in time beside %d: the machine is too busy for this load", i, late, n.offered.Load())
		}
	}
}

// explained checks that each data plane said why it refuses, and for how long.
func (d *demand) explained(t *testing.T, key string) {
	t.Helper()
	for i, n := range d.nodes {
		if n.refusal == nil {
			t.Errorf("data plane %d refused nothing", i)
			continue
		}
		wait, err := strconv.Atoi(n.refusal.Header.Get("Retry-After"))
		if err != nil || wait < 1 {
			t.Errorf("data plane %d: Retry-After is %q", i, n.refusal.Header.Get("Retry-After"))
		}
		if got := n.refusal.Header.Get("X-Hopgate-Error"); !strings.HasPrefix(got, "hop=client; phase=limit; kind=exhausted") {
			t.Errorf("data plane %d: x-hopgate-error is %q", i, got)
		}
		if e := n.refusal.rpcError(t); !strings.Contains(e.Message, key) || !strings.Contains(e.Message, "100/s") || e.Data.Kind != "exhausted" {
			t.Errorf("data plane %d doesn't name the key and its limit: %+v", i, e)
		}
	}
	t.Logf("a refusal: Retry-After %s, %s: %s", d.nodes[0].refusal.Header.Get("Retry-After"), d.nodes[0].refusal.Header.Get("X-Hopgate-Error"), d.nodes[0].refusal.Body)
}
