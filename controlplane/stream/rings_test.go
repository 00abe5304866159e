package stream_test

import (
	"slices"
	"testing"
	"testing/synctest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/rollout"
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
