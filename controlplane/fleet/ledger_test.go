package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

var keyA, keyB = confset.Key{Kind: "server", Name: "a"}, confset.Key{Kind: "server", Name: "b"}

// world is a ledger with the view its nodes should be at.
type world struct {
	*fleet.Ledger
	t        testing.TB
	current  *view.View
	ring     func(view.Scope) *view.View // nil: all are to be at current
	registry *prometheus.Registry
}

func newWorld(t testing.TB, cfg fleet.Config) *world {
	t.Helper()
	w := &world{t: t, registry: prometheus.NewRegistry()}
	cfg.Registerer = w.registry
	cfg.Current = func(s view.Scope) *view.View {
		if w.ring != nil {
			return w.ring(s)
		}
		return w.current
	}
	l, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Ledger = l
	return w
}

// to makes a view of bodies by name the current one.
func (w *world) to(revision int64, bodies map[string]string) *view.View {
	w.t.Helper()
	var objs []confset.Object
	for name, body := range bodies {
		objs = append(objs, server(name, body))
	}
	set, err := confset.New(objs)
	if err != nil {
		w.t.Fatal(err)
	}
	w.current = &view.View{Set: set, Epoch: "e", Revision: revision, Since: time.Now(), Changes: []view.Change{{ID: "c", Revision: revision}}}
	return w.current
}

func (w *world) join(node string) *fleet.Member {
	return w.Join(fleet.Joined{Node: node, Scope: view.Scope{Region: "eu", FeatureLevel: 1}, Version: "v1"})
}

func server(name, body string) confset.Object {
	return confset.NewObject(confset.Key{Kind: "server", Name: name}, "uid", []byte(body))
}

func rejects(name, text string) *syncv1.Ack {
	return &syncv1.Ack{Outcomes: []*syncv1.Outcome{{Kind: "server", Name: name, Rejected: true, Field: "spec.tls", Text: text}}}
}

func warns(name, text string) *syncv1.Ack {
	return &syncv1.Ack{Outcomes: []*syncv1.Outcome{{Kind: "server", Name: name, Text: text}}}
}

func TestObjectStatusCountsEveryConnectedNodeOnce(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	v := w.to(5, map[string]string{"a": "1", "b": "1"})
	var m []*fleet.Member
	for i := range 5 {
		m = append(m, w.join(fmt.Sprintf("n%d", i)))
	}
	m[0].Applied(v, &syncv1.Ack{}, true)
	m[1].Applied(v, rejects("a", "is broken"), true)
	m[2].Applied(v, warns("a", "is odd"), true)
	m[3].Holds(v)
	want := func(what string, applied, warned, rejected, pending int32, body string) {
		t.Helper()
		if st := w.ObjectStatus(server("a", body)); st.GetApplied() != applied || st.GetWarned() != warned || st.GetRejected() != rejected || st.GetPending() != pending {
			t.Errorf("%s: %v; want %d applied, %d warned, %d rejected, %d pending", what, st, applied, warned, rejected, pending)
		}
	}
	want("at first", 2, 1, 1, 1, "1")
	if r := w.ObjectStatus(server("a", "1")).GetRefusals(); len(r) != 2 || r[0].GetNode() != "n1" || !r[0].GetRejected() || r[1].GetText() != "is odd" {
		t.Errorf("refusals %v, want the rejection of n1 and then the warning", r)
	}
	want("a body nobody has", 0, 0, 0, 5, "2")
	next := w.to(6, map[string]string{"a": "2", "b": "1"})
	m[1].Applied(next, &syncv1.Ack{}, false)
	want("one took the next body", 1, 0, 0, 4, "2")
	m[2].Leave()
	want("the one that warned left", 2, 0, 0, 2, "1")
}

func TestVerdictsLastUntilTheObjectChangesOrAllIsSentAgain(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	m := w.join("n")
	rejected := func() int { return len(w.Nodes()[0].GetRejected()) }
	m.Applied(w.to(5, map[string]string{"a": "1", "b": "1"}), rejects("a", "is broken"), true)
	since := w.Nodes()[0].GetRejected()[0].GetSince().AsTime()
	m.Applied(w.to(6, map[string]string{"a": "1", "b": "2"}), warns("b", "is odd"), false)
	if rejected() != 2 {
		t.Errorf("after a change of another object: %d verdicts, want 2", rejected())
	}
	m.Leave()
	m = w.join("n")
	m.Holds(w.current)
	if st := w.ObjectStatus(server("a", "1")); st.GetRejected() != 1 {
		t.Errorf("after a reconnect: %v, want the rejection still", st)
	}
	m.Applied(w.current, rejects("a", "is broken"), true)
	if now := w.Nodes()[0].GetRejected(); len(now) != 1 || !now[0].GetSince().AsTime().Equal(since) {
		t.Errorf("after all was sent again: %v, want one that stands since %v", now, since)
	}
	m.Applied(w.to(7, map[string]string{"a": "2", "b": "2"}), &syncv1.Ack{}, false)
	if rejected() != 0 {
		t.Errorf("after the object changed: %d verdicts, want none", rejected())
	}
}

func TestDeliveryTellsAppliedRejectedAndPendingApart(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	v := w.to(5, map[string]string{"a": "1", "b": "1"})
	keys := []confset.Key{keyA, keyB}
	done, broken, suspect := w.join("done"), w.join("broken"), w.join("suspect")
	w.join("slow")
	done.Applied(v, &syncv1.Ack{}, true)
	broken.Applied(v, rejects("a", "is broken"), true)
	suspect.Refused(v, "crashed under it", true)
	check := func(revision int64, keys []confset.Key, applied, rejected, pending int32) {
		t.Helper()
		d := w.Delivery(revision, keys)
		if d.GetNodes() != 4 || d.GetApplied() != applied || d.GetRejected() != rejected || d.GetPending() != pending {
			t.Errorf("delivery of %d: %v; want %d applied, %d rejected, %d pending", revision, d, applied, rejected, pending)
		}
	}
	check(5, keys, 1, 2, 1)
	check(5, []confset.Key{keyB}, 2, 1, 1)
	check(6, keys, 0, 0, 4)
	suspect.Applied(v, &syncv1.Ack{}, true)
	check(5, keys, 2, 1, 1)
	if w.Nodes()[2].GetNode() != "slow" || w.Nodes()[3].GetSuspect() {
		t.Errorf("nodes %v", w.Nodes())
	}
	w.current = &view.View{Set: v.Set, Epoch: "another", Revision: 2}
	check(1, keys, 0, 0, 4)
}

func TestWaitEndsWithTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{})
		v := w.to(5, map[string]string{"a": "1"})
		n1, n2, n3, n4 := w.join("n1"), w.join("n2"), w.join("n3"), w.join("n4")
		got := make(chan *adminv1.Delivery, 1)
		go func() {
			d, err := w.Wait(t.Context(), 5, keyA)
			if err != nil {
				t.Error(err)
			}
			got <- d
		}()
		for _, answer := range []func(){
			func() { n1.Applied(v, &syncv1.Ack{}, true) },
			func() { n2.Refused(v, "crashed under it", true) },
			func() { n3.Leave() },
		} {
			answer()
			synctest.Wait()
			if len(got) != 0 {
				t.Fatal("the wait ended before all had answered")
			}
		}
		n4.Applied(v, rejects("a", "is broken"), true)
		if d := <-got; d.GetNodes() != 3 || d.GetApplied() != 1 || d.GetRejected() != 2 {
			t.Errorf("delivery %v, want 3 nodes, 1 applied, 2 rejected", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if d, err := w.Wait(ctx, 6); !errors.Is(err, context.DeadlineExceeded) || d.GetPending() != 3 {
			t.Errorf("waiting for what doesn't come: %v, %v", d, err)
		}
	})
}

func TestASupersededStreamSaysNothingAnyMore(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	v := w.to(5, map[string]string{"a": "1"})
	older := w.join("n")
	newer := w.join("n")
	older.Applied(v, &syncv1.Ack{}, true)
	older.Leave()
	if n := w.Nodes(); len(n) != 1 || !n[0].GetConnected() || n[0].GetInSync() {
		t.Errorf("after the older stream spoke: %v", n)
	}
	newer.Applied(v, &syncv1.Ack{AppliedTime: timestamppb.Now()}, true)
	if n := w.Nodes()[0]; !n.GetInSync() || n.GetRevision() != 5 {
		t.Errorf("after the newer stream spoke: %v", n)
	}
}

func TestANodeIsNotInSyncWhileACommittedChangeIsUnpublished(t *testing.T) {
	committed := int64(5)
	w := newWorld(t, fleet.Config{Revision: func() int64 { return committed }})
	m := w.join("n")
	m.Applied(w.to(5, map[string]string{"a": "1"}), &syncv1.Ack{}, true)
	want := func(what string, inSync bool) {
		t.Helper()
		if _, behind := w.Counts(); w.Nodes()[0].GetInSync() != inSync || (behind == 0) != inSync {
			t.Errorf("%s: in sync %v, %d behind; want in sync %v", what, w.Nodes()[0].GetInSync(), behind, inSync)
		}
	}
	want("at the newest revision", true)
	committed = 6
	want("a change is committed, its view not yet published", false)
	v := w.to(6, map[string]string{"a": "2"})
	want("its view is published", false)
	m.Applied(v, &syncv1.Ack{}, false)
	want("the node took it", true)
}

func TestNodesThatLeftAreKeptForAnHourAndNotWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{KeepMost: 3})
		for i := range 5 {
			m := w.join(fmt.Sprintf("n%d", i))
			time.Sleep(10 * time.Minute)
			m.Leave()
		}
		if n := w.Nodes(); len(n) != 3 || n[0].GetNode() != "n2" || n[0].GetConnected() {
			t.Errorf("nodes %v, want the last three", n)
		}
		w.join("n2")
		time.Sleep(55 * time.Minute)
		if n := w.Nodes(); len(n) != 2 || !n[0].GetConnected() {
			t.Errorf("nodes %v, want the connected one and the last that left", n)
		}
	})
}

func TestWhatANodeReportsIsBounded(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	bodies, ack, health := map[string]string{}, &syncv1.Ack{}, &syncv1.Health{InFlight: 3, Draining: true}
	for i := range 1500 {
		name := fmt.Sprintf("s%d", i)
		bodies[name] = "1"
		ack.Outcomes = append(ack.Outcomes, &syncv1.Outcome{Kind: "server", Name: name, Text: strings.Repeat("ä", 5000), Rejected: true})
		health.Upstreams = append(health.Upstreams, &syncv1.UpstreamHealth{Server: name, Error: strings.Repeat("x", 5000)})
	}
	m := w.join("n")
	m.Applied(w.to(5, bodies), ack, true)
	m.Health(health)
	m.Health(health)
	n := w.Nodes()[0]
	if len(n.GetRejected()) != 100 || len(n.GetUpstreams()) != 1000 || !n.GetDraining() || n.GetInFlight() != 3 {
		t.Errorf("%d verdicts, %d upstreams, draining %v, %d in flight", len(n.GetRejected()), len(n.GetUpstreams()), n.GetDraining(), n.GetInFlight())
	}
	if text := n.GetRejected()[0].GetText(); len(text) > 510 || !strings.HasSuffix(text, "ä…") {
		t.Errorf("a text has %d bytes and ends %q", len(text), text[len(text)-5:])
	}
	if got := w.ObjectStatus(server("s0", "1")).GetRefusals(); len(got) > 10 {
		t.Errorf("%d refusals", len(got))
	}
}

func TestWhatIsAmissWithUpstreams(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	m := w.join("n")
	many := slices.Repeat([]string{strings.Repeat("x", 5000)}, 1500)
	tell := func(name string, open, drifted []string) {
		m.Health(&syncv1.Health{Upstreams: []*syncv1.UpstreamHealth{{Server: name, Open: open, Drifted: drifted}}})
	}
	tell("s", []string{"http://a/mcp"}, []string{"search", "find"})
	if u := w.Nodes()[0].GetUpstreams()[0]; !slices.Equal(u.GetOpen(), []string{"http://a/mcp"}) || !slices.Equal(u.GetDrifted(), []string{"search", "find"}) {
		t.Errorf("%v", u)
	}
	tell("s", many, many)
	if u := w.Nodes()[0].GetUpstreams()[0]; len(u.GetOpen()) != 32 || len(u.GetDrifted()) != 100 || len(u.GetOpen()[0]) > 210 {
		t.Errorf("%d open, %d drifted", len(u.GetOpen()), len(u.GetDrifted()))
	}
	tell("s", nil, nil)
	if u := w.Nodes()[0].GetUpstreams()[0]; len(u.GetOpen())+len(u.GetDrifted()) != 0 {
		t.Errorf("all is well again, and told is %v", u)
	}
	for i := range 300 {
		tell(fmt.Sprintf("t%d", i), []string{"http://a/mcp"}, nil)
		tell("t0", []string{"http://a/mcp"}, nil)
	}
	held := 0
	for _, u := range w.Nodes()[0].GetUpstreams() {
		held += len(u.GetOpen())
	}
	if held != 100 {
		t.Errorf("%d upstreams with something amiss are held, want 100", held)
	}
}

func TestNodesBehindAndConvergenceAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{})
		n1, n2 := w.join("n1"), w.join("n2")
		v := w.to(5, map[string]string{"a": "1"})
		time.Sleep(200 * time.Millisecond)
		n1.Applied(v, &syncv1.Ack{}, true)
		if connected, behind := w.Counts(); connected != 2 || behind != 1 {
			t.Errorf("%d connected, %d behind; want 2 and 1", connected, behind)
		}
		if n, _ := convergence(t, w); n != 0 {
			t.Error("convergence was measured before all had answered")
		}
		time.Sleep(300 * time.Millisecond)
		n2.Applied(v, &syncv1.Ack{}, true)
		n2.Applied(v, &syncv1.Ack{}, true)
		if n, sum := convergence(t, w); n != 1 || sum < .49 || sum > .51 {
			t.Errorf("%d convergences of %v s together, want one of 0.5", n, sum)
		}
	})
}

func convergence(t *testing.T, w *world) (n uint64, sum float64) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hopgate_convergence_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatal("no metric hopgate_convergence_seconds")
	return 0, 0
}

// A data plane that is past the revision of an object and doesn't hold it isn't meant to: it is neither pending nor applied.
func TestScopedStatusCountsThoseThatAreMeantToHaveIt(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	with, without := w.to(5, map[string]string{"a": "1"}), w.to(6, map[string]string{"b": "1"})
	w.join("has").Holds(with)
	w.join("has not").Holds(without)
	w.join("new")
	for what, c := range map[string]struct {
		body             string
		revision         int64
		applied, pending int32
	}{
		"stored before both":        {"1", 4, 1, 1},
		"stored between them":       {"1", 6, 1, 1},
		"stored after both":         {"1", 7, 1, 2},
		"another body, before both": {"2", 5, 0, 2},
	} {
		if st := w.ScopedStatus(server("a", c.body), c.revision); st.GetApplied() != c.applied || st.GetPending() != c.pending {
			t.Errorf("%s: %v, want %d applied, %d pending", what, st, c.applied, c.pending)
		}
	}
}
