package demo_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/cmd/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var revisions = []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// start runs a demo server until the test ends.
func start(t *testing.T, cfg demo.Config) string {
	t.Helper()
	s := demo.New(cfg)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return s.URL()
}

func connect(t *testing.T, url, revision string, header http.Header, options *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	transport := &http.Transport{}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: with{header, transport}}, MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatalf("%s: %v", revision, err)
	}
	t.Cleanup(func() { s.Close(); transport.CloseIdleConnections() })
	return s
}

type with struct {
	header http.Header
	next   http.RoundTripper
}

// RoundTrip adds the headers.
func (w with) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range w.header {
		r.Header[k] = v
	}
	return w.next.RoundTrip(r)
}

func TestEveryRevisionIsSpoken(t *testing.T) {
	url := start(t, demo.Config{Version: "v1.2.3"})
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			s := connect(t, url, revision, nil, nil)
			if got := s.InitializeResult(); got.ProtocolVersion != revision || got.ServerInfo.Version != "v1.2.3" {
				t.Errorf("negotiated %s with %+v", got.ProtocolVersion, got.ServerInfo)
			}
			if stateful := s.ID() != ""; stateful != (revision < "2026") {
				t.Errorf("session id %q", s.ID())
			}
			list, err := s.ListTools(t.Context(), nil)
			if err != nil || len(list.Tools) != 4 {
				t.Fatalf("tools: %v %v", list, err)
			}
			res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 0.5, "b": 2}})
			if sum, ok := res.StructuredContent.(map[string]any); err != nil || !ok || sum["sum"] != 2.5 {
				t.Errorf("add answered %+v, %v", res, err)
			}
			res, err = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "fail"})
			if err != nil || !res.IsError || res.Content[0].(*mcp.TextContent).Text != "failed as asked" {
				t.Errorf("fail answered %+v, %v", res, err)
			}
		})
	}
}

func TestSlowShowsProgressAndStopsWhenCancelled(t *testing.T) {
	url := start(t, demo.Config{})
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			notes := make(chan *mcp.ProgressNotificationParams, 100)
			s := connect(t, url, revision, nil, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { notes <- r.Params }})
			params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 0.03, "steps": 3}}
			params.SetProgressToken("p1")
			if res, err := s.CallTool(t.Context(), params); err != nil || res.IsError {
				t.Fatalf("slow answered %+v, %v", res, err)
			}
			for want := 1.0; want <= 3; want++ {
				if n := <-notes; n.Progress != want || n.Total != 3 || n.Message == "" {
					t.Errorf("note %+v, want progress %v of 3", n, want)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			long := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 10, "steps": 100}}
			long.SetProgressToken("p2")
			ended := make(chan error, 1)
			begin := time.Now()
			go func() { _, err := s.CallTool(ctx, long); ended <- err }()
			<-notes
			cancel()
			if err := <-ended; err == nil || time.Since(begin) > 5*time.Second {
				t.Errorf("the cancelled call ended with %v after %s", err, time.Since(begin))
			}
		})
	}
}

func TestSpansHangBelowTheCaller(t *testing.T) {
	const trace, header, meta = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "b7ad6b7169203331"
	for name, c := range map[string]struct {
		meta   mcp.Meta
		parent string
	}{
		"header":          {nil, header},
		"_meta before it": {mcp.Meta{"traceparent": "00-" + trace + "-" + meta + "-01"}, meta},
	} {
		for _, revision := range []string{"2025-11-25", "2026-07-28"} {
			t.Run(name+" "+revision, func(t *testing.T) {
				spans := tracetest.NewSpanRecorder()
				provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
				url := start(t, demo.Config{Tracer: provider})
				s := connect(t, url, revision, http.Header{"Traceparent": {"00-" + trace + "-" + header + "-01"}}, nil)
				if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Meta: c.meta, Name: "fail"}); err != nil {
					t.Fatal(err)
				}
				for _, span := range spans.Ended() {
					if span.Name() != "tools/call fail" {
						continue
					}
					if span.SpanContext().TraceID().String() != trace || span.Parent().SpanID().String() != c.parent {
						t.Errorf("the span is in trace %s below %s", span.SpanContext().TraceID(), span.Parent().SpanID())
					}
					if span.Status().Description != "tool error" {
						t.Errorf("status %+v, want a tool error", span.Status())
					}
					return
				}
				t.Error("no span of the call")
			})
		}
	}
}

func TestItListensOnLoopbackOnly(t *testing.T) {
	url := start(t, demo.Config{})
	host, _, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp"))
	if err != nil || host != "127.0.0.1" {
		t.Errorf("URL %s, want one on 127.0.0.1 (%v)", url, err)
	}
}
