//go:build e2e && linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// randomShort is how long random faults go on without SOAK; quietEvery is the time between two looks at whether all is well.
	randomShort, quietEvery = 30 * time.Second, 30 * time.Second
	// randomSeed repeats a schedule: the variable with the seed of a failed run.
	randomSeed = "SOAK_SEED"
	// settles is how soon the whole fleet is at one state once everybody is back.
	settles = 90 * time.Second
)

// ordeal is a fleet to which faults happen: two control planes on an etcd of three, a relay, and four data planes with traffic.
type ordeal struct {
	t        *testing.T
	members  []*member
	controls []*control
	relay    *control
	proxies  map[string]*proxy
	flows    map[string]*traffic
	key      string
	rng      *rand.Rand
	began    time.Time
	schedule []string
	next     []int // victims to come: all have had their turn before any has another
	faults   map[string]int
	health   []vitals
	calls    int64
}

// TestRandomFaultsLeaveOneConfigAndNoFailedCall kills, stops and ends processes at random while configs change, some of them in steps, and
// are taken back. Every half minute it lets everybody come back, and looks: one digest everywhere, a change log that leads to the heads,
// no failed call on a data plane that was left alone. At the end goroutines and memory have to be where they were.
//
// The first control plane and the data plane home-1 are stopped and continued at most, never killed: what leaks, leaks there.
func TestRandomFaultsLeaveOneConfigAndNoFailedCall(t *testing.T) {
	t.Parallel() // most of it is waiting
	o := startOrdeal(t)
	limit := soakFor(t, randomShort, time.Hour)
	for time.Since(o.began) < limit {
		work := startOperators(o)
		for end := time.Now().Add(min(quietEvery, limit-time.Since(o.began))); time.Now().Before(end) && !t.Failed(); {
			o.fault()
		}
		work.stop()
		o.allWell(work)
		if t.Failed() {
			break
		}
	}
	o.report()
}

func startOrdeal(t *testing.T) *ordeal {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(randomSeed); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q; make it the number of a failed run", randomSeed, s)
		}
		seed = n
	}
	o := &ordeal{t: t, proxies: map[string]*proxy{}, flows: map[string]*traffic{}, faults: map[string]int{}}
	o.rng = rand.New(rand.NewPCG(seed, 20)) //nolint:gosec // a schedule
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s=%d repeats this schedule:\n%s", randomSeed, seed, strings.Join(o.schedule, "\n"))
		}
	})
	o.members = startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	ok(t, os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600))
	for _, name := range []string{"control-1", "control-2"} {
		o.controls = append(o.controls, startControl(t, name, nil, "--etcd", clients(o.members), "--kek-file", kek))
	}
	home := o.controls[0].Sync + "," + o.controls[1].Sync
	o.relay = startControl(t, "relay-eu", nil, "--upstream", home, "--region", "eu", "--node", "relay-eu")
	for _, name := range []string{"home-1", "home-2"} {
		o.proxies[name] = startProxy(t, name, nil, o.controls)
	}
	for _, name := range []string{"eu-1", "eu-2"} {
		o.proxies[name] = startProxy(t, name, nil, []*control{o.relay}, "--region", "eu")
	}
	o.controls[0].apply(t, server("demo", demoServer(t)))
	o.key = o.controls[0].key(t, "caller", "demo")
	for name := range o.proxies {
		o.traffic(name)
	}
	o.began = time.Now()
	return o
}

// traffic begins once the data plane answers.
func (o *ordeal) traffic(name string) {
	o.t.Helper()
	firstAnswer(o.t, o.proxies[name], o.key)
	o.flows[name] = startTraffic(o.t, o.proxies[name], "demo", o.key)
}

// untouched ends the traffic of a data plane, of which no call may have failed so far.
func (o *ordeal) untouched(name string) {
	o.t.Helper()
	f := o.flows[name]
	if f == nil {
		return
	}
	f.end()
	o.calls += f.done.Load()
	if first := f.first.Load(); first != nil {
		o.t.Errorf("%s was left alone, and %d of %d calls failed, the first: %v", name, f.failed.Load(), f.done.Load(), *first)
	}
	o.flows[name] = nil
}

// victim is a process and how it comes back.
type victim struct {
	name string
	what func() *running
	back func()
	// lives: it is never ended, only stopped and continued.
	lives bool
	// serves: it has callers of its own, whose calls may fail while it is hit.
	serves bool
}

func (o *ordeal) victims() []victim {
	out := []victim{}
	for i, c := range append([]*control{o.relay}, o.controls...) {
		out = append(out, victim{name: c.Name, what: func() *running { return c.running }, back: func() { c.running = start(o.t, c.program) }, lives: i == 1})
	}
	for _, m := range o.members {
		out = append(out, victim{name: m.name, what: func() *running { return m.running }, back: func() { m.running = start(o.t, m.program) }})
	}
	for _, name := range []string{"home-2", "eu-1", "eu-2"} {
		p := o.proxies[name]
		out = append(out, victim{name: name, what: func() *running { return p.running }, back: func() { p.again(o.t) }, serves: true})
	}
	return out
}

// fault does one thing to one process and takes it back.
func (o *ordeal) fault() {
	o.t.Helper()
	all := o.victims()
	if len(o.next) == 0 {
		o.next = o.rng.Perm(len(all))
	}
	v, how, away := all[o.next[0]], o.rng.IntN(3), 200*time.Millisecond+time.Duration(o.rng.Int64N(int64(3*time.Second)))
	o.next = o.next[1:]
	calm := time.Duration(o.rng.Int64N(int64(2 * time.Second)))
	if v.lives {
		how = 1
	}
	signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM}[how]
	o.schedule = append(o.schedule, fmt.Sprintf("%8s %s %s for %s", time.Since(o.began).Round(time.Millisecond), v.name, signal, away.Round(time.Millisecond)))
	o.faults[signal.String()]++
	if v.serves {
		o.untouched(v.name)
	}
	r := v.what()
	r.signal(signal)
	if signal == syscall.SIGSTOP {
		<-time.After(away)
		r.signal(syscall.SIGCONT)
	} else {
		o.ends(v.name, r)
		<-time.After(away)
		v.back()
	}
	if v.serves {
		o.traffic(v.name)
	}
	<-time.After(calm)
	if !v.what().alive() {
		o.t.Errorf("%s ended by itself: %v\n%s", v.name, v.what().state, tail(v.what().output(), 30))
	}
}

// ends waits until a process that was told to is gone.
func (o *ordeal) ends(name string, r *running) {
	o.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(2 * (1 + mostStretch) * endsIn):
		o.t.Errorf("%s is still there long after it was told to end:\n%s", name, tail(r.output(), 30))
		r.kill()
	}
}
