package stream_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"google.golang.org/protobuf/proto"
)

const (
	parentA = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	parentB = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
)

func TestAChangeIsOneTraceFromCallToEveryAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
		c := cptest.New(t, cptest.Config{Tracer: tp})
		quiet()
		n1, n2 := join(t, c, hello("n1")), join(t, c, hello("n2"))
		if u := n1.take(); u.GetTraceparent() != "" {
			t.Errorf("the first update carries the trace %s of no change", u.GetTraceparent())
		}
		n2.take()
		quiet()
		c.Commit(cptest.Change{Puts: []proto.Message{server("a")}, Traceparent: parentA})
		u1, _, _ := n1.update()
		u2, _, _ := n2.update()
		if u1.GetTraceparent() != u2.GetTraceparent() || !strings.HasPrefix(u1.GetTraceparent(), parentA[:36]) {
			t.Errorf("the updates carry %s and %s, want one in the trace of %s", u1.GetTraceparent(), u2.GetTraceparent(), parentA)
		}
		n1.ack(u1)
		n2.ack(u2, &syncv1.Outcome{Kind: "server", Name: "a", Rejected: true, Text: "no"})
		quiet()
		got := tree(rec.Ended())
		want := []string{"ack n1 < push eu", "ack n2 < push eu", "push eu < b7ad6b7169203331"}
		if !slices.Equal(got, want) {
			t.Errorf("spans %q, want %q", got, want)
		}
	})
}

func TestAMergedPushIsAChildOfTheFirstChangeAndLinksTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
		c := cptest.New(t, cptest.Config{Tracer: tp})
		p := join(t, c, hello("n1"))
		p.take()
		quiet()
		c.Put(server("leading"))
		p.take()
		c.Commit(cptest.Change{Puts: []proto.Message{server("a")}, Traceparent: parentA})
		c.Commit(cptest.Change{Puts: []proto.Message{server("b")}, Traceparent: parentB})
		c.Commit(cptest.Change{Puts: []proto.Message{server("c")}, Traceparent: parentA}) // as a step of a staged change is
		c.Commit(cptest.Change{Puts: []proto.Message{server("d")}, Traceparent: parentB})
		u := p.take()
		if len(u.GetChanges()) != 4 || !slices.Equal(u.GetLinks(), []string{parentB}) || !strings.HasPrefix(u.GetTraceparent(), parentA[:36]) {
			t.Errorf("the merged update carries %s, links %q, %d changes", u.GetTraceparent(), u.GetLinks(), len(u.GetChanges()))
		}
		quiet()
		push := rec.Ended()[slices.IndexFunc(rec.Ended(), func(s sdktrace.ReadOnlySpan) bool {
			return s.Parent().TraceID().String() == parentA[3:35] && s.Parent().IsRemote()
		})]
		if len(push.Links()) != 1 || push.Links()[0].SpanContext.TraceID().String() != parentB[3:35] {
			t.Errorf("the push has links %v, want the second change", push.Links())
		}
	})
}

func TestAPushEndsWhenAStreamLeavesOrFallsSilent(t *testing.T) {
	for _, how := range []string{"leaves", "falls silent"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := tracetest.NewSpanRecorder()
				c := cptest.New(t, cptest.Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))})
				n1, n2 := join(t, c, hello("n1")), join(t, c, hello("n2"))
				n1.take()
				n2.take()
				quiet()
				c.Put(server("a"))
				n1.take()
				n2.update()
				if how == "leaves" {
					n2.cancel()
				} else if err := n2.end(); err == nil {
					t.Error("the silent stream goes on")
				}
				quiet()
				if got := tree(rec.Ended()); len(got) != 2 {
					t.Errorf("ended spans %q, want the push and one ack", got)
				}
			})
		})
	}
}

func TestWithoutATracerTheTraceOfTheChangeIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		p := join(t, c, hello("n1"))
		p.take()
		quiet()
		c.Commit(cptest.Change{Raw: []confset.Object{confset.NewObject(confset.Key{Kind: "server", Name: "x"}, "u", nil)}, Traceparent: parentA})
		if u := p.take(); u.GetTraceparent() != parentA {
			t.Errorf("the update carries %q, want %q", u.GetTraceparent(), parentA)
		}
	})
}

// tree names every span with its parent, sorted.
func tree(spans []sdktrace.ReadOnlySpan) []string {
	names := map[string]string{}
	for _, s := range spans {
		names[s.SpanContext().SpanID().String()] = s.Name()
	}
	var out []string
	for _, s := range spans {
		parent := s.Parent().SpanID().String()
		if name := names[parent]; name != "" {
			parent = name
		}
		out = append(out, s.Name()+" < "+parent)
	}
	slices.Sort(out)
	return out
}
