package telemetry_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// tree writes spans as an indented tree in order of start, each with its kind, status, the named attributes and its events.
func tree(spans tracetest.SpanStubs, keys ...string) string {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	known := map[string]bool{}
	for _, s := range spans {
		known[s.SpanContext.SpanID().String()] = true
	}
	var b strings.Builder
	var write func(parent, indent string)
	write = func(parent, indent string) {
		for _, s := range spans {
			up := s.Parent.SpanID().String()
			if !known[up] {
				up = ""
			}
			if up != parent {
				continue
			}
			fmt.Fprintf(&b, "%s%s %s %s", indent, s.SpanKind, s.Name, s.EndTime.Sub(s.StartTime))
			if s.Status.Code == codes.Error {
				b.WriteString(" error")
			}
			set := attribute.NewSet(s.Attributes...)
			for _, k := range keys {
				if v, ok := set.Value(attribute.Key(k)); ok {
					fmt.Fprintf(&b, " %s=%s", k, v.String())
				}
			}
			for _, e := range s.Events {
				fmt.Fprintf(&b, " [%s %s]", e.Name, e.Time.Sub(s.StartTime))
			}
			b.WriteByte('\n')
			write(s.SpanContext.SpanID().String(), indent+"  ")
		}
	}
	write("", "")
	return b.String()
}

var zero time.Time

func sampled(c *telemetry.Config) { c.SampleRatio = func() float64 { return 1 } }

func TestTreeOfACall(t *testing.T) {
	k := newKit(t, sampled)
	k.tell(call())
	want := `server tools/call echo 24ms hopgate.hop=client
  internal auth 100µs hopgate.hop=gateway
  internal route 50µs hopgate.hop=gateway
  client tools/call echo 23.4ms hopgate.hop=upstream [dns 1ms] [connect 1.6ms] [request sent 1.7ms] [headers 19.6ms] [first event 19.7ms] [end 23.4ms]
`
	if got := tree(k.spans.GetSpans(), attr.Hop, attr.ErrorType); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestUnsampledCallsMakeNoSpans(t *testing.T) {
	k := newKit(t, nil)
	k.tell(call())
	if n := len(k.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestFaultsAreExportedUnsampled(t *testing.T) {
	k := newKit(t, nil)
	k.tell(refused())
	want := `server tools/call echo 2ms error hopgate.hop=upstream hopgate.phase=connect hopgate.kind=refused error.type=refused
  internal auth 100µs hopgate.hop=gateway
  internal route 50µs hopgate.hop=gateway
  client tools/call echo 1.4ms error hopgate.hop=upstream hopgate.phase=connect hopgate.kind=refused error.type=refused [dns 1ms] [end 1.4ms]
`
	if got := tree(k.spans.GetSpans(), attr.Hop, attr.Phase, attr.Kind, attr.ErrorType); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, s := range k.spans.GetSpans() {
		if s.SpanKind.String() != "internal" && !strings.Contains(s.Status.Description, "connection refused") {
			t.Errorf("%s span has status %q", s.SpanKind, s.Status.Description)
		}
	}
}

func TestFaultsMarkTheStepTheyHappenedIn(t *testing.T) {
	tests := []struct {
		name  string
		fault fault.Error
		want  string
	}{
		{"bad key", fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated}, `server POST 24ms error error.type=unauthenticated
  internal auth 24ms error error.type=unauthenticated
`},
		{"no such server", fault.Error{Hop: fault.Client, Phase: fault.Route, Kind: fault.NotFound}, `server tools/call echo 24ms error error.type=not_found
  internal auth 100µs
  internal route 23.7ms error error.type=not_found
`},
		{"not JSON", fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed}, `server POST 24ms error.type=malformed
  internal auth 100µs
`},
		{"before the transport", fault.Error{Hop: fault.Upstream, Phase: fault.Config, Kind: fault.Unsupported}, `server tools/call echo 24ms error error.type=unsupported
  internal auth 100µs
  internal route 50µs
  client tools/call echo 23.65ms error error.type=unsupported [end 23.65ms]
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			r := call()
			r.Upstream, r.Outcome, r.Fault = telemetry.Timing{}, "", &tt.fault
			switch tt.fault.Phase {
			case fault.Auth:
				r.AuthEnd, r.Read, r.Routed, r.Method, r.Tool = zero, zero, zero, "", ""
			case fault.Request:
				r.Read, r.Routed, r.Method, r.Tool = zero, zero, "", ""
			case fault.Route:
				r.Routed = zero
			}
			k.tell(r)
			if got := tree(k.spans.GetSpans(), attr.ErrorType); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestOutcomesMarkSpans(t *testing.T) {
	tests := []struct{ outcome, server, client string }{
		{"ok", "", ""},
		{"tool_error", "error tool_error", "error tool_error"},
		{"-32603", "error -32603", "error -32603"},
		{"-32602", "", "error -32602"},
		{"-32002", "", "error -32002"},
		{"-31999", "error -31999", "error -31999"},
	}
	for _, tt := range tests {
		t.Run(tt.outcome, func(t *testing.T) {
			k := newKit(t, sampled)
			r := call()
			r.Outcome = tt.outcome
			k.tell(r)
			for _, s := range k.spans.GetSpans() {
				set := attribute.NewSet(s.Attributes...)
				kind, _ := set.Value(attr.ErrorType)
				got := strings.TrimSpace(map[bool]string{true: "error "}[s.Status.Code == codes.Error] + kind.AsString())
				switch s.SpanKind.String() {
				case "server":
					if got != tt.server {
						t.Errorf("server span %q, want %q", got, tt.server)
					}
				case "client":
					if got != tt.client {
						t.Errorf("client span %q, want %q", got, tt.client)
					}
				}
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	k := newKit(t, sampled)
	k.tell(call())
	common := map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "gen_ai.operation.name": "execute_tool", "mcp.protocol.version": "2025-11-25",
		"jsonrpc.request.id": "a-7", "hopgate.server": "everything", "hopgate.region": "eu", "hopgate.node": "dp-1", "network.transport": "tcp",
		"network.protocol.name": "http", "http.response.status_code": "200", "hopgate.session": "5e55",
	}
	own := map[string]map[string]string{
		"server": {"hopgate.hop": "client", "hopgate.config.revision": "42", "hopgate.caller": "alice", "client.address": "127.0.0.1",
			"client.port": "57230", "http.request.method": "POST", "url.path": "/everything/mcp", "network.protocol.version": "1.1"},
		"client": {"hopgate.hop": "upstream", "server.address": "localhost", "server.port": "3001", "network.peer.address": "127.0.0.1",
			"network.peer.port": "3001", "hopgate.attempt": "1"},
	}
	for _, s := range k.spans.GetSpans() {
		want, ok := own[s.SpanKind.String()]
		if !ok {
			continue
		}
		set := attribute.NewSet(s.Attributes...)
		for _, m := range []map[string]string{common, want} {
			for key, value := range m {
				if v, _ := set.Value(attribute.Key(key)); v.String() != value {
					t.Errorf("%s span: %s is %q, want %q", s.SpanKind, key, v.String(), value)
				}
			}
		}
		if _, ok := set.Value(attr.ErrorType); ok {
			t.Errorf("%s span has an error.type", s.SpanKind)
		}
	}
}

func TestSpansBearTheIDsThatTravelled(t *testing.T) {
	k := newKit(t, nil)
	r := call()
	k.Begin(r)
	k.Adopt(r, callerParent, otherParent, "vendor=1", true)
	sent := string(telemetry.AppendTraceparent(nil, &r.IDs, r.Sampled))
	k.Finish(r)
	if want := "00-" + callerTrace + "-" + hex.EncodeToString(r.IDs.Call[:]) + "-01"; sent != want {
		t.Errorf("sent %s, want %s", sent, want)
	}
	for _, s := range k.spans.GetSpans() {
		if s.SpanContext.TraceID().String() != callerTrace {
			t.Errorf("%s span in trace %s", s.SpanKind, s.SpanContext.TraceID())
		}
		switch s.SpanKind.String() {
		case "server":
			if s.Parent.SpanID().String() != callerSpan || !s.Parent.IsRemote() || s.SpanContext.TraceState().String() != "vendor=1" {
				t.Errorf("parent %v, state %q", s.Parent, s.SpanContext.TraceState())
			}
			if len(s.Links) != 1 || s.Links[0].SpanContext.TraceID().String() != otherTrace {
				t.Errorf("links %v", s.Links)
			}
		case "client":
			if s.SpanContext.SpanID() != r.IDs.Call {
				t.Errorf("client span %s", s.SpanContext.SpanID())
			}
		}
	}
}

func TestUntrustedCallersNeverParentASpan(t *testing.T) {
	k := newKit(t, sampled)
	r := call()
	k.Begin(r)
	k.Adopt(r, callerParent, "", "vendor=1", false)
	k.Finish(r)
	for _, s := range k.spans.GetSpans() {
		if s.SpanKind.String() == "server" && (s.Parent.IsValid() || len(s.Links) != 1 || s.SpanContext.TraceID().String() == callerTrace) {
			t.Errorf("parent %v links %v", s.Parent, s.Links)
		}
	}
}

func TestFloodsOfOneFaultAreNotAllTraced(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Log = nil, nil })
	for range 250 {
		k.tell(refused())
	}
	other := refused()
	other.Server = "another"
	k.tell(other)
	servers := 0
	for _, s := range k.spans.GetSpans() {
		if s.SpanKind.String() == "server" {
			servers++
		}
	}
	if lost := value(t, k.registry, attr.MetricSuppressed, nil); servers != 101 || lost != 150 {
		t.Errorf("%d traces, %v suppressed", servers, lost)
	}
}

func TestSpanNamesAreBounded(t *testing.T) {
	k := newKit(t, sampled)
	for _, method := range []string{"junk/" + strings.Repeat("x", 1000), ""} {
		r := call()
		r.Method, r.Tool = method, ""
		k.tell(r)
	}
	for _, s := range k.spans.GetSpans() {
		if s.SpanKind.String() == "server" && s.Name != "other" && s.Name != "POST" {
			t.Errorf("span %q", s.Name)
		}
	}
}
