package stream_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Each step reaches whom it admits by one delta, in one push that ends with their answers; the others aren't waited for.
func TestAStepIsOneDeltaAndOnePushToWhomItAdmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		c := cptest.New(t, cptest.Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))})
		c.Put(server("a"), server("b"))
		quiet()
		nodes := map[string]*plane{}
		for _, name := range []string{"n1", "n2", "n3"} {
			nodes[name] = join(t, c, hello(name))
			nodes[name].take()
		}
		quiet()
		first, err := c.Store.Get(t.Context(), confset.Key{Kind: "server", Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		order := []string{"n1", "n2", "n3"}
		slices.SortFunc(order, func(a, b string) int {
			if rollout.Hash(a, "r1") < rollout.Hash(b, "r1") {
				return -1
			}
			return 1
		})
		body := &adminv1.Rollout{Change: "r1", State: rollout.Rolling, Plan: &adminv1.RolloutPlan{Strategy: rollout.Canary},
			Steps:   []*adminv1.RolloutStep{{Name: "2"}, {Name: "100%"}},
			Objects: []*adminv1.StagedObject{{Kind: "server", Name: "a", Before: first.Object.Hash[:], Uid: first.Object.UID, Generation: 1}}}
		write := func(more ...proto.Message) {
			t.Helper()
			b, err := rules.Body(body)
			if err != nil {
				t.Fatal(err)
			}
			c.Commit(cptest.Change{Puts: more, Raw: []confset.Object{confset.NewObject(confset.Key{Kind: rollout.Kind, Name: "r1"}, "", b)}, Traceparent: parentA})
			quiet()
		}
		expect := func(what string, pushes, acks int) {
			t.Helper()
			quiet()
			got := tree(rec.Ended())
			p := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s[:4] != "push" }))
			if p != pushes || len(got)-p != acks {
				t.Errorf("%s: %q, want %d pushes and %d acks", what, got, pushes, acks)
			}
		}
		moved := func(name string) {
			t.Helper()
			u, upserts, removals := nodes[name].update()
			if u.GetFull() || upserts != 1 || removals != 0 {
				t.Errorf("%s: full %v, %d objects, %d removals; want a delta of one", name, u.GetFull(), upserts, removals)
			}
			nodes[name].ack(u)
		}
		write(serverAt("a", "http://127.0.0.1:2/mcp"))
		expect("staged", 0, 0)
		body.Step, body.Threshold = 1, rollout.Hash(order[1], "r1")
		write()
		moved(order[0])
		expect("the first of two has answered", 0, 0)
		moved(order[1])
		expect("both have", 1, 2)
		body.State = rollout.Reverted
		write(server("a"))
		moved(order[0])
		moved(order[1])
		expect("taken back", 2, 4)
		c.Put(server("b"), server("c"))
		for _, name := range order {
			nodes[name].take()
		}
		expect("all again", 3, 7)
	})
}

// While a control plane had no stream, or none that looked, a rollout may have begun; the first one to join finds that out.
func TestTheFirstStreamJoinsAfterARolloutHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"))
		quiet()
		body := &adminv1.Rollout{Change: "r1", State: rollout.Rolling, Step: 1, Plan: &adminv1.RolloutPlan{Strategy: rollout.Canary},
			Steps: []*adminv1.RolloutStep{{Name: "100%"}}, Objects: []*adminv1.StagedObject{{Kind: "server", Name: "b"}}}
		b, err := rules.Body(body)
		if err != nil {
			t.Fatal(err)
		}
		c.Commit(cptest.Change{Puts: []proto.Message{server("b")}, Raw: []confset.Object{confset.NewObject(confset.Key{Kind: rollout.Kind, Name: "r1"}, "", b)}})
		quiet()
		if u, upserts, _ := join(t, c, hello("n1")).update(); !u.GetFull() || upserts != 2 {
			t.Errorf("full %v with %d objects, want all of 2", u.GetFull(), upserts)
		}
	})
}

// A data plane that is admitted, and loses the change again, before it has answered: one update at a time, and the last one is where it belongs.
func TestAStreamChangesRingsWithAnUpdateUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		c := cptest.New(t, cptest.Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))})
		c.Put(server("a"), server("b"))
		quiet()
		n1, n2 := join(t, c, hello("n1")), join(t, c, hello("n2"))
		n1.take()
		n2.take()
		quiet()
		first, err := c.Store.Get(t.Context(), confset.Key{Kind: "server", Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		body := &adminv1.Rollout{Change: "r1", State: rollout.Rolling, Plan: &adminv1.RolloutPlan{Strategy: rollout.Regions},
			Steps:   []*adminv1.RolloutStep{{Name: "eu"}, {Name: "rest"}},
			Objects: []*adminv1.StagedObject{{Kind: "server", Name: "a", Before: first.Object.Hash[:], Uid: first.Object.UID, Generation: 1}}}
		write := func(more ...proto.Message) {
			t.Helper()
			b, err := rules.Body(body)
			if err != nil {
				t.Fatal(err)
			}
			c.Commit(cptest.Change{Puts: more, Raw: []confset.Object{confset.NewObject(confset.Key{Kind: rollout.Kind, Name: "r1"}, "", b)}, Traceparent: parentA})
			quiet()
		}
		write(serverAt("a", "http://127.0.0.1:2/mcp"))
		was := n1.set.Digest()
		c.Put(server("b"), server("c")) // an update in the old ring that n1 doesn't answer
		quiet()
		pending, _, _ := n1.update()
		n2.take()
		body.Step = 1
		write() // both change rings
		n2.take()
		body.State = rollout.Reverted
		write(server("a")) // and back
		n2.take()
		if got := c.Views().Current(view.Scope{Region: "eu", FeatureLevel: 1, Node: "n1"}).Digest(); n1.set.Digest() != got || was == got {
			t.Fatal("the old ring isn't what it was")
		}
		n1.ack(pending)
		quiet()
		acks := 0
		for _, s := range tree(rec.Ended()) {
			if strings.Contains(s, "n1") {
				acks++
			}
		}
		if acks != 1 {
			t.Errorf("%d answers of n1 are told of, want that to the update from before it was admitted: %q", acks, tree(rec.Ended()))
		}
		c.Put(server("b"), serverAt("c", "http://127.0.0.1:3/mcp"))
		u, upserts, removals := n1.update()
		if u.GetFull() || upserts != 1 || removals != 0 {
			t.Errorf("after it was in both rings: full %v, %d objects, %d removals; want a delta of one", u.GetFull(), upserts, removals)
		}
		n1.ack(u)
		n2.take()
		quiet()
		if started, ended := len(rec.Started()), len(rec.Ended()); started != ended {
			t.Errorf("%d spans began, %d ended", started, ended)
		}
		if !c.Fleet().Nodes()[0].GetInSync() || !c.Fleet().Nodes()[1].GetInSync() {
			t.Errorf("%v", c.Fleet().Nodes())
		}
	})
}
