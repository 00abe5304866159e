package request_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// twoRich is settings with the servers "rich" and "other", which both keep sessions.
func twoRich(t testing.TB, more ...func(*configv1.ServerSpec)) (s settings, rich, other *mcptest.Rich) {
	rich, other = &mcptest.Rich{Mute: true, EventIDs: true}, &mcptest.Rich{Mute: true}
	a, b := mcptest.Start(t, rich), mcptest.Start(t, other)
	s = settings{servers: map[string]*configv1.ServerSpec{"rich": server(a.URL), "other": server(b.URL)}}
	for _, m := range more {
		m(s.servers["rich"])
	}
	return s, rich, other
}

func keepsState(s *configv1.ServerSpec) { s.Sessions = "required" }

func forget(r *mcptest.Rich) {
	for _, id := range r.Sessions() {
		r.Forget(id)
	}
}

const word = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"word"}}`

// When a server that keeps state in sessions has lost one, the merged stream ends, and the client that comes back is told to begin anew.
func TestAMergedStreamEndsWithASessionThatIsNeeded(t *testing.T) {
	s, rich, _ := twoRich(t, keepsState)
	g := start(t, s)
	id := g.join(t, "/mcp")
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	rich.Push(word)
	events := bufio.NewReader(stream.Body)
	nextData(t, events)
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, events)
		ended <- err
	}()
	forget(rich)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the stream ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on without what it needs")
		stream.Body.Close()
	}
	again := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer again.Body.Close()
	if again.StatusCode != http.StatusNotFound {
		t.Fatal(again.Status)
	}
	if body, _ := io.ReadAll(again.Body); !strings.Contains(string(body), "-32001") { //nolint:errcheck // a test
		t.Errorf("%s", body)
	}
}

// Where a server may be asked in another session, the streams of the others go on, and the log says why it has none.
func TestAMergedStreamGoesOnWithoutASessionThatIsNotNeeded(t *testing.T) {
	s, rich, other := twoRich(t)
	g := start(t, s)
	id := g.join(t, "/mcp")
	forget(rich)
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	eventually(t, "the log line", func() bool { return strings.Contains(g.log.String(), "goes on without a server") })
	if line := g.log.String(); !strings.Contains(line, "level=INFO") || !strings.Contains(line, "server=rich") {
		t.Error(line)
	}
	other.Push(word)
	if got := nextData(t, bufio.NewReader(stream.Body)); stream.StatusCode != http.StatusOK || !strings.Contains(got, "word") {
		t.Errorf("%d %s", stream.StatusCode, got)
	}
}

func (g *gateway) clientSpan(server string) (span tracetest.SpanStub, ok bool) {
	for _, s := range g.spans.GetSpans() {
		for _, a := range s.Attributes {
			if s.SpanKind == trace.SpanKindClient && a.Key == "hopgate.server" && a.Value.AsString() == server && s.Name == "GET" {
				return s, true
			}
		}
	}
	return span, false
}

// The opening of each server's stream has a span in the trace of the merged stream's opening.
func TestOpeningsOfMergedStreamsAreTraced(t *testing.T) {
	s, _, _ := twoRich(t)
	s.ratio = "1"
	g := start(t, s)
	id := g.join(t, "/mcp")
	g.spans.Reset()
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	for _, name := range []string{"rich", "other"} {
		var span tracetest.SpanStub
		eventually(t, "the span of "+name, func() (ok bool) { span, ok = g.clientSpan(name); return ok })
		eventually(t, "the opening above the span of "+name, func() (found bool) { // it is told when the stream stands
			for _, root := range g.spans.GetSpans() {
				found = found || root.SpanKind == trace.SpanKindServer && root.SpanContext.SpanID() == span.Parent.SpanID() &&
					root.SpanContext.TraceID() == span.SpanContext.TraceID()
			}
			return found
		})
	}
}

// A stream that breaks is a fault of its server, whatever becomes of the merged one.
func TestABreakWithinAMergedStreamIsTold(t *testing.T) {
	broken := telling(word)
	rich := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			broken.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		mcptest.Event(w, "", word)
		panic(http.ErrAbortHandler)
	})
	s, _ := withRich(t, rich)
	g := start(t, s)
	id := g.join(t, "/mcp")
	stream := g.open(t, "GET", "/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	defer stream.Body.Close()
	nextData(t, bufio.NewReader(stream.Body))
	eventually(t, "the fault", func() bool { return strings.Contains(g.log.String(), "server=rich") })
	if log := g.log.String(); !strings.Contains(log, "upstream/stream/") {
		t.Error(log)
	}
}
