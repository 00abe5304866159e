package launch_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/cmd/internal/launch"
)

// span is what a collector received.
type span struct{ service, name, trace, id, parent string }

// collector takes spans as OTLP over HTTP.
type collector struct {
	mu    sync.Mutex
	spans []span // guarded by mu
}

// collect makes every process that the test starts from now on export to a new collector.
func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	return c
}

// ServeHTTP takes one delivery.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	b, err := io.ReadAll(body)
	var req collectorv1.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.keep(&req)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) keep(req *collectorv1.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{service, s.GetName(), hex.EncodeToString(s.GetTraceId()), hex.EncodeToString(s.GetSpanId()), hex.EncodeToString(s.GetParentSpanId())})
			}
		}
	}
}

// find returns the first span that ok takes.
func (c *collector) find(ok func(span) bool) (span, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if ok(s) {
			return s, true
		}
	}
	return span{}, false
}

// path is the way from a span up to its root, as "service: name" from the root down; complete says that a known id is above it.
func (c *collector) path(s span, above string) (path []string, complete bool) {
	for range 10 {
		path = append([]string{s.service + ": " + s.name}, path...)
		if s.parent == above {
			return path, true
		}
		up, ok := c.find(func(p span) bool { return p.trace == s.trace && p.id == s.parent })
		if !ok {
			return path, false
		}
		s = up
	}
	return path, false
}

type withTrace struct {
	parent string
	next   http.RoundTripper
}

// RoundTrip adds the trace context.
func (w withTrace) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", w.parent)
	return w.next.RoundTrip(r)
}

func TestTheDemosSpansAreTheGatewaysChildren(t *testing.T) {
	c := collect(t)
	s := up(t, launch.Up{Demo: true})
	for i, revision := range []string{legacy, modern} {
		t.Run(revision, func(t *testing.T) {
			trace, caller := strings.Repeat("ab", 15)+[]string{"01", "02"}[i], "00f067aa0ba902b7"
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
				Endpoint: s.mcp + "/demo/mcp", HTTPClient: &http.Client{Transport: withTrace{"00-" + trace + "-" + caller + "-01", withKey{s.key, transport}}}, DisableStandaloneSSE: true,
			}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			call(t, client, "echo", map[string]any{"message": "hello"})
			var path []string
			until(t, "the call's spans have arrived", func() bool {
				demo, ok := c.find(func(s span) bool {
					return s.service == "hopgate-demo" && s.trace == trace && s.name == "tools/call echo"
				})
				if !ok {
					return false
				}
				path, ok = c.path(demo, caller)
				return ok
			})
			if len(path) < 3 || !strings.HasPrefix(path[0], "hopgate-dataplane: ") || !strings.HasPrefix(path[len(path)-2], "hopgate-dataplane: ") {
				t.Errorf("the way to the demo's span is %q, want it to go through the data plane", path)
			}
		})
	}
}

func TestAChangeIsOneTraceUpToTheDataPlane(t *testing.T) {
	c := collect(t)
	s := up(t, launch.Up{})
	put(t, s, "mine", "http://127.0.0.1:9/mcp")
	commit := ""
	until(t, "the change has been stored", func() bool {
		s, ok := c.find(func(s span) bool { return s.name == "store.commit" })
		commit = s.trace
		return ok
	})
	for name, service := range map[string]string{"apply": "hopgate-dataplane", "ack local": "hopgate-controlplane"} {
		var path []string
		until(t, name+" hangs below the change", func() bool {
			s, ok := c.find(func(s span) bool { return s.trace == commit && s.name == name && s.service == service })
			if !ok {
				return false
			}
			path, ok = c.path(s, "")
			return ok
		})
		if want := []string{"hopgate-controlplane: push local", service + ": " + name}; len(path) != 3 || !slices.Equal(path[1:], want) {
			t.Errorf("the way to %s is %q, want %q below the API's span", name, path, want)
		}
	}
}
