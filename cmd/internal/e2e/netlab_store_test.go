//go:build e2e && linux

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/netlab"
	"github.com/hopgate/hopgate/proto/attr"
)

const (
	// unavailableLimit is how soon a write must be refused while the store is out of reach, catchUpLimit how soon its return is seen.
	unavailableLimit, catchUpLimit = 2 * time.Second, 2 * time.Second
	// cutShort and cutLong are how long a control plane is kept from its store, without and with SOAK.
	cutShort, cutLong = 30 * time.Second, 5 * time.Minute
)

// TestControlPlaneCutOffFromEtcdServesRefusesWritesAndCatchesUp cuts the link between a control plane and its etcd, compacts the store
// meanwhile, and heals the link. Its data plane serves on and keeps its stream; writes are refused at once; afterwards the store is
// read once, and the data plane gets what changed and nothing else.
func TestControlPlaneCutOffFromEtcdServesRefusesWritesAndCatchesUp(t *testing.T) {
	t.Parallel() // most of it is waiting
	w := startWorld(t, regionsApart, "home", "eu")
	members := w.etcd(t, "home")
	near := w.control(t, "home", "control-home", "--etcd", clients(members))
	far := w.control(t, "eu", "control-eu", "--etcd", clients(members))
	p := w.proxy(t, "eu", "eu-1", far)
	local := w.proxy(t, "home", "home-1", near)
	for i := range 50 {
		near.put(t, fmt.Sprintf("s%02d", i), i)
	}
	far.apply(t, w.everywhere(t, "demo", "home", "eu"))
	key := far.key(t, "caller", "*")
	firstAnswer(t, p, key)
	firstAnswer(t, local, key)

	stream, flow := hold(t, p, "demo", key), startTraffic(t, p, "demo", key)
	since, loads := far.nodes(t)["eu-1"].GetSince().AsTime(), metric(t, far.Admin, attr.MetricStoreLoads)
	ok(t, w.lab.Cut("home", "eu"))
	cut := time.Now()
	slowest := far.refusedWrite(t, "lost", unavailableLimit)
	change := near.put(t, "later", 1)
	w.compact(t, "home", members)
	said := far.stale(t, true)
	t.Logf("etcd cut off: %s (after %s)", said, time.Since(cut).Round(time.Millisecond))
	for time.Since(cut) < soakFor(t, cutShort, cutLong) {
		slowest = max(slowest, far.refusedWrite(t, "lost", unavailableLimit))
		<-time.After(time.Second)
	}
	t.Logf("etcd cut off: writes were refused within %s", slowest.Round(time.Millisecond))
	applied := len(updates(p))

	ok(t, w.lab.Heal("home", "eu"))
	healed := mark()
	far.reaches(t, "eu-1", change)
	took := time.Since(healed.at)
	t.Logf("healed after %s: a change made at the other control plane is in force after %s", healed.at.Sub(cut).Round(time.Second), took.Round(time.Millisecond))
	healed.within(t, "it caught up after the link was healed", took, catchUpLimit)
	far.onlyChanged(t, p, applied, loads)
	far.stale(t, false)
	if again := far.nodes(t)["eu-1"].GetSince().AsTime(); !again.Equal(since) || !stream.open() {
		t.Errorf("the data plane's stream, open since %s, is from %s; the client's stream is open: %v", since, again, stream.open())
	}
	if a, b := far.digest(t, "eu-1"), near.digest(t, "home-1"); a != b || a == "" {
		t.Errorf("digest %s at the cut-off control plane, %s at the other", a, b)
	}
	flow.spotless(t, "behind the cut-off control plane")
	far.put(t, "later", 2)
}

// compact makes history and then forgets all of it, so that whoever wants to go on from before has to read everything.
func (w *world) compact(t *testing.T, site string, members []*member) {
	t.Helper()
	var revision string
	for range 5 {
		res := w.etcdctl(t, site, members[:1], "put", "elsewhere", "noise", "--write-out", "fields")
		if revision = field(res.Out, "Revision"); res.Code != 0 || revision == "" {
			t.Fatalf("etcdctl put: %v", res)
		}
	}
	if res := w.etcdctl(t, site, members[:1], "compact", revision); res.Code != 0 {
		t.Fatalf("etcdctl compact: %v", res)
	}
}

var appliedLine = regexp.MustCompile(`(?m)config applied.*?\bupserts=(\d+).*?\bremovals=(\d+)`)

// updates are the numbers of objects that came and went with each update that a data plane has taken, by its log.
func updates(p *proxy) [][2]int {
	out := [][2]int{}
	for _, m := range appliedLine.FindAllStringSubmatch(p.output(), -1) {
		a, _ := strconv.Atoi(m[1]) //nolint:errcheck // digits
		b, _ := strconv.Atoi(m[2]) //nolint:errcheck // digits
		out = append(out, [2]int{a, b})
	}
	return out
}

// onlyChanged checks that the store was read as a whole once, and that the data plane got the one object that changed.
func (c *control) onlyChanged(t *testing.T, p *proxy, applied int, loads float64) {
	t.Helper()
	eventually(t, shown, "the data plane's log tells its update", func() error {
		if got := updates(p); len(got) <= applied {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	got, lists := updates(p)[applied:], metric(t, c.Admin, attr.MetricStoreLoads)-loads
	t.Logf("after a compaction during the cut: %v whole reads of the store, %v [upserts removals] to the data plane", lists, got)
	if lists != 1 || !slices.Equal(got, [][2]int{{1, 0}}) {
		t.Errorf("whole reads %v, updates %v; want one read, and one update with one object", lists, got)
	}
	if a, b := metric(t, c.Admin, attr.MetricResyncs), metric(t, p.Admin, attr.MetricConfigResyncs); a != 0 || b != 0 {
		t.Errorf("%v and %v resyncs", a, b)
	}
}

// Changes are made over the slow link, one each lossyPace, for lossyShort without SOAK and at most lossyLong with it.
const (
	lossyPace             = 80 * time.Millisecond
	lossyShort, lossyLong = 8 * time.Second, 2 * time.Minute
)

// TestLossySlowLinkNeverTakesADataPlaneBack makes changes while a data plane is reached over 80 ms, 5 % loss and 256 kbit/s.
func TestLossySlowLinkNeverTakesADataPlaneBack(t *testing.T) {
	t.Parallel() // most of it is waiting
	w := startWorld(t, netlab.Conditions{}, "home", "eu")
	home := w.control(t, "home", "home")
	far, near := w.proxy(t, "eu", "eu-1", home), w.proxy(t, "home", "home-1", home)
	home.inSync(t, "eu-1", "home-1")
	between(t, w.lab, "home", "eu", netlab.Conditions{Delay: 40 * time.Millisecond, Loss: 0.05, Rate: 256_000})
	watched := watchRevisions(t, far)
	var last int64
	lossyChanges := int(soakFor(t, lossyShort, lossyLong) / lossyPace)
	for i := range lossyChanges {
		last = home.put(t, fmt.Sprintf("s%d", i%10), i)
		<-time.After(lossyPace)
	}
	began := time.Now()
	home.reaches(t, "eu-1", last)
	home.inSync(t, "eu-1", "home-1")
	took := time.Since(began)
	revisions := watched()
	there, back := w.lab.Traffic("home", "eu"), w.lab.Traffic("eu", "home")
	lost := there.Lost + back.Lost
	t.Logf("%d changes over 80 ms, 5 %% loss, 256 kbit/s: in force %s after the last; %d updates, %d revisions, %v+%v resyncs; %d packets lost of %d",
		lossyChanges, took.Round(time.Millisecond), len(updates(far)), len(slices.Compact(slices.Clone(revisions))),
		metric(t, home.Admin, attr.MetricResyncs), metric(t, far.Admin, attr.MetricConfigResyncs), lost, lost+there.Carried+back.Carried)
	if !slices.IsSorted(revisions) || len(revisions) < 50 || lost == 0 {
		t.Errorf("revisions %v, %d packets lost", revisions, lost)
	}
	if applied := appliedRevisions(far); !slices.IsSorted(applied) || applied[len(applied)-1] != last {
		t.Errorf("it applied revisions %v, the newest is %d", applied, last)
	}
	if a, b := home.digest(t, "eu-1"), home.digest(t, "home-1"); a != b || a == "" {
		t.Errorf("digest %s over the slow link, %s beside the control plane", a, b)
	}
	if r, err := near.readiness(); err != nil || r.Revision != last {
		t.Errorf("beside the control plane: %+v %v, want revision %d", r, err, last)
	}
}

var appliedRevision = regexp.MustCompile(`(?m)config applied.*?\brevision=(\d+)`)

// appliedRevisions are what a data plane's log says it has taken, in order.
func appliedRevisions(p *proxy) []int64 {
	out := []int64{}
	for _, m := range appliedRevision.FindAllStringSubmatch(p.output(), -1) {
		n, _ := strconv.ParseInt(strings.TrimSpace(m[1]), 10, 64) //nolint:errcheck // digits
		out = append(out, n)
	}
	return out
}

// watchRevisions asks a data plane every 20 ms which revision it serves; the function that it returns ends that and gives the answers.
func watchRevisions(t *testing.T, p *proxy) func() []int64 {
	t.Helper()
	stop, out := make(chan struct{}), make(chan []int64, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		seen := []int64{}
		for {
			select {
			case <-stop:
				out <- seen
				return
			case <-tick.C:
			}
			if r, err := p.readiness(); err == nil {
				seen = append(seen, r.Revision)
			}
		}
	}()
	return func() []int64 { close(stop); return <-out }
}
