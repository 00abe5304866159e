package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// fanOut is a finished tools/list on an endpoint of several servers.
func fanOut() *telemetry.Record {
	r := call()
	r.Path, r.Method, r.Tool, r.Server = "/mcp", "tools/list", "", ""
	r.Upstream, r.UpstreamStatus, r.Attempts = telemetry.Timing{}, 0, 0
	r.UpstreamAddr, r.UpstreamPort, r.UpstreamOrigin = "", 0, ""
	return r
}

// leg runs one leg of parent from its begin to its end, in ms; change may fail it.
func (k *kit) leg(parent *telemetry.Record, server string, from, to float64, change func(*telemetry.Record)) {
	l := &telemetry.Record{Start: ms(from)}
	k.BeginLeg(parent, l)
	l.Server, l.Method, l.UpstreamAddr, l.UpstreamPort, l.UpstreamOrigin = server, "tools/list", server, 443, "https://"+server
	l.Upstream = telemetry.Timing{Start: ms(from), Reused: true, Sent: ms(from + 0.1), Headers: ms(to).Add(-200 * time.Microsecond),
		First: ms(to).Add(-100 * time.Microsecond), End: ms(to)}
	l.UpstreamStatus, l.Attempts, l.Outcome, l.End = 200, 1, "ok", ms(to)
	if change != nil {
		change(l)
	}
	k.FinishLeg(parent, l)
	*l = telemetry.Record{Server: "used again", Method: "used again", Fault: &fault.Error{}}
}

func notReached(r *telemetry.Record) {
	u := &r.Upstream
	u.Reused, u.Sent, u.Headers, u.First = false, zero, zero, zero
	u.ConnStart = u.Start
	r.UpstreamStatus, r.Outcome = 0, ""
	r.Fault = &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused, Server: r.Server, Message: "no", Err: errRefused}
}

// threeLegs is a fan-out of which the server jira failed.
func threeLegs(k *kit) *telemetry.Record {
	r := fanOut()
	k.Begin(r)
	k.leg(r, "github", 0.4, 20.4, nil)
	k.leg(r, "jira", 0.5, 1.5, notReached)
	k.leg(r, "slack", 0.6, 10.6, nil)
	return r
}

const treeOfThree = `server tools/list 24ms hopgate.hop=client
  internal auth 100µs hopgate.hop=gateway
  internal route 50µs hopgate.hop=gateway
  client tools/list 20ms hopgate.hop=upstream hopgate.server=github server.address=github [request sent 100µs] [headers 19.8ms] [first event 19.9ms] [end 20ms]
  client tools/list 1ms error hopgate.hop=upstream hopgate.kind=refused hopgate.server=jira server.address=jira [end 1ms]
  client tools/list 10ms hopgate.hop=upstream hopgate.server=slack server.address=slack [request sent 100µs] [headers 9.8ms] [first event 9.9ms] [end 10ms]
`

func TestTreeOfAFanOut(t *testing.T) {
	for name, change := range map[string]func(*telemetry.Config){"sampled": sampled, "unsampled, with a leg that failed": nil} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, change)
			k.Finish(threeLegs(k))
			if got := tree(k.spans.GetSpans(), attr.Hop, attr.Kind, attr.Server, attr.ServerAddress); got != treeOfThree {
				t.Errorf("got\n%swant\n%s", got, treeOfThree)
			}
			spanOf(t, k.spans.GetSpans(), "jira", func(s tracetest.SpanStub) {
				if !strings.Contains(s.Status.Description, "connection refused") {
					t.Errorf("status %q", s.Status.Description)
				}
			})
		})
	}
}

func spanOf(t *testing.T, spans tracetest.SpanStubs, server string, look func(tracetest.SpanStub)) {
	t.Helper()
	found := false
	for _, s := range spans {
		set := attribute.NewSet(s.Attributes...)
		if v, _ := set.Value(attr.Server); s.SpanKind.String() == "client" && v.AsString() == server {
			found = true
			look(s)
		}
	}
	if !found {
		t.Errorf("no span of %s", server)
	}
}

func TestUnsampledFanOutsMakeNoSpans(t *testing.T) {
	k := newKit(t, nil)
	r := fanOut()
	k.Begin(r)
	k.leg(r, "github", 1, 2, nil)
	k.Finish(r)
	if n := len(k.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestALegsSpanBearsWhatTravelled(t *testing.T) {
	k := newKit(t, sampled)
	r := fanOut()
	k.Begin(r)
	var sent [2]string
	for i := range sent {
		k.leg(r, fmt.Sprint("s", i), 1, 2, func(l *telemetry.Record) {
			sent[i] = string(telemetry.AppendTraceparent(nil, &l.IDs, l.Sampled))
			if l.Caller != "alice" || l.ClientAddr != r.ClientAddr || l.Debug != r.Debug {
				t.Errorf("the leg knows of its caller: %q %q", l.Caller, l.ClientAddr)
			}
		})
	}
	k.Finish(r)
	for i := range sent {
		spanOf(t, k.spans.GetSpans(), fmt.Sprint("s", i), func(s tracetest.SpanStub) {
			if want := "00-" + s.SpanContext.TraceID().String() + "-" + s.SpanContext.SpanID().String() + "-01"; sent[i] != want {
				t.Errorf("sent %s, exported %s", sent[i], want)
			}
		})
	}
	if sent[0] == sent[1] {
		t.Error("two legs share a span")
	}
}

// A leg that didn't get as far as its server has its CLIENT span all the same.
func TestALegWithoutItsCredential(t *testing.T) {
	k := newKit(t, nil)
	r := fanOut()
	k.Begin(r)
	k.leg(r, "jira", 1, 3, func(l *telemetry.Record) {
		l.Upstream, l.UpstreamStatus, l.Outcome = telemetry.Timing{}, 0, ""
		l.Credential = telemetry.Span{Start: ms(1), End: ms(3)}
		l.Fault = &fault.Error{Hop: fault.AuthServer, Phase: fault.Token, Kind: fault.TimedOut}
	})
	k.Finish(r)
	got := tree(k.spans.GetSpans(), attr.Hop, attr.Kind)
	for _, want := range []string{"  internal credential 2ms error hopgate.hop=authserver hopgate.kind=timed_out\n",
		"  client tools/list 2ms error hopgate.hop=authserver hopgate.kind=timed_out [end 2ms]\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%snot in\n%s", want, got)
		}
	}
	if hops := string(telemetry.AppendHops(nil, r)); strings.Contains(hops, "jira") {
		t.Errorf("legs are still there after Finish: %s", hops)
	}
}

func TestMetricsOfAFanOut(t *testing.T) {
	k := newKit(t, nil)
	k.Finish(threeLegs(k))
	for _, c := range []struct {
		metric string
		labels map[string]string
		want   float64
	}{
		{attr.MetricServerDuration, map[string]string{attr.LabelServer: "", attr.LabelMethod: "tools/list", attr.LabelOutcome: "ok"}, 1},
		{attr.MetricClientDuration, map[string]string{attr.LabelServer: "github", attr.LabelMethod: "tools/list", attr.LabelOutcome: "ok"}, 1},
		{attr.MetricClientDuration, map[string]string{attr.LabelServer: "jira", attr.LabelMethod: "tools/list", attr.LabelOutcome: "refused"}, 1},
		{attr.MetricFaults, map[string]string{attr.LabelServer: "jira", attr.LabelHop: "upstream", attr.LabelPhase: "connect", attr.LabelKind: "refused"}, 1},
	} {
		if got := value(t, k.registry, c.metric, c.labels); got != c.want {
			t.Errorf("%s of %v is %v", c.metric, c.labels, got)
		}
	}
	if n := len(family(t, k.registry, attr.MetricServerDuration)); n != 1 {
		t.Errorf("%d series of requests", n)
	}
	for _, h := range k.UpstreamHealth() {
		if h.GetOk() != (h.GetServer() != "jira") {
			t.Errorf("health %v", h)
		}
	}
	if !k.Failing() {
		t.Error("not failing")
	}
	calls := k.ServerCalls()
	if len(calls) != 3 || calls[0].GetServer() != "jira" || calls[0].GetFailed() != 1 || calls[1].GetFailed() != 0 || calls[1].GetCalls() != 1 {
		t.Errorf("calls %v", calls)
	}
}

func TestErrorLineOfALeg(t *testing.T) {
	k := newKit(t, nil)
	k.Finish(threeLegs(k))
	got := k.errors.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "server=jira") || !strings.Contains(got, "caller=alice") || strings.Contains(got, " status=") ||
		!strings.Contains(got, "upstream/connect/refused - tools/list failed - Server: https://jira") {
		t.Error(got)
	}
}

func TestAccessLineOfAFanOut(t *testing.T) {
	k := newKit(t, nil)
	k.Finish(threeLegs(k))
	r := fanOut()
	k.Begin(r)
	k.leg(r, "github", 1, 2, nil)
	k.Finish(r)
	lines := strings.Split(k.flush(t), "\n")
	if !strings.Contains(lines[0], " outcome=ok legs=3 legs_failed=1 auth=") || strings.Contains(lines[1], "legs") {
		t.Error(lines)
	}
	k = newKit(t, func(c *telemetry.Config) { c.Format = telemetry.FormatJSON })
	k.Finish(threeLegs(k))
	k.tell(call())
	lines = strings.Split(k.flush(t), "\n")
	many, one := decode(t, lines[0]), decode(t, lines[1])
	if _, there := one["legs"]; many["legs"] != 3.0 || many["legs_failed"] != 1.0 || there {
		t.Error(lines)
	}
}

func TestHopsOfAFanOut(t *testing.T) {
	k := newKit(t, nil)
	r := threeLegs(k)
	want := "auth;ok;0.1, policy;ok;0.1, upstream.github;ok;20.0, upstream.jira;refused;1.0, upstream.slack;ok;10.0"
	if got := string(telemetry.AppendHops(nil, r)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `auth;dur=0.1, policy;dur=0.1, upstream.github;dur=20.0, upstream.jira;desc="refused";dur=1.0, upstream.slack;dur=10.0, total;dur=24.0`
	if got := string(telemetry.AppendServerTiming(nil, r)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	k.leg(r, "a;b, \"c\n"+strings.Repeat("x", 200), 1, 2, nil)
	for range 100 {
		k.leg(r, "more", 1, 2, nil)
	}
	got := strings.Split(string(telemetry.AppendHops(nil, r)), ", ")
	if len(got) != 2+32 || !strings.HasPrefix(got[5], "upstream.a_b___c_x") || len(got[5]) > 160 {
		t.Errorf("%d entries, %q", len(got), got[5])
	}
	k.Finish(r)
}

func TestLegsAreBounded(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { sampled(c); c.Format = telemetry.FormatJSON })
	r := fanOut()
	k.Begin(r)
	for range 300 {
		k.leg(r, "github", 1, 2, nil)
	}
	k.Finish(r)
	clients := 0
	for _, s := range k.spans.GetSpans() {
		if s.SpanKind.String() == "client" {
			clients++
		}
	}
	if line := decode(t, strings.TrimSpace(k.flush(t))); clients != 256 || line["legs"] != 300.0 {
		t.Errorf("%d spans of %v", clients, line["legs"])
	}
}

// Records are pooled: the legs of one request are not those of the next.
func TestLegsEndWithTheirRequest(t *testing.T) {
	k := newKit(t, nil)
	r := fanOut()
	k.Begin(r)
	late := &telemetry.Record{}
	k.BeginLeg(r, late)
	k.Finish(r)
	*r = *fanOut()
	k.Begin(r)
	late.Server, late.Fault = "late", &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.TimedOut, Err: errors.New("late")}
	k.FinishLeg(r, late)
	k.FinishLeg(r, late)
	k.Finish(r)
	if n := len(k.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
	if got := value(t, k.registry, attr.MetricFaults, map[string]string{attr.LabelServer: "late"}); got != 1 {
		t.Errorf("%v faults", got)
	}
	k.FinishLeg(r, &telemetry.Record{Server: "never begun"})
}

func TestLegsOfOneRequestRunAtOnce(t *testing.T) {
	k := newKit(t, sampled)
	r := fromNow(fanOut())
	r.End = zero
	k.Begin(r)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			var l telemetry.Record
			k.BeginLeg(r, &l)
			l.Server, l.Method, l.Upstream.Start = fmt.Sprint("s", i%4), "tools/list", time.Now()
			if i%2 == 0 {
				l.Fault = &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.TimedOut}
			}
			k.FinishLeg(r, &l)
			l = telemetry.Record{}
		})
	}
	for range 10 {
		_ = telemetry.AppendHops(nil, r) // the head may be written meanwhile
	}
	wg.Wait()
	k.Finish(r)
	if got := len(k.spans.GetSpans()); got != 1+2+32 {
		t.Errorf("%d spans", got)
	}
	if !strings.Contains(k.flush(t), " legs=32 legs_failed=16 ") {
		t.Error(k.access.String())
	}
}

func BenchmarkLeg(b *testing.B) {
	t := benchKit(b, "json", 0)
	r, l := fromNow(fanOut()), fromNow(call())
	t.Begin(r)
	b.ReportAllocs()
	for b.Loop() {
		t.BeginLeg(r, l)
		t.FinishLeg(r, l)
	}
	t.Finish(r)
}

func BenchmarkFanOutOf10(b *testing.B) {
	t := benchKit(b, "json", 0)
	r, l := fromNow(fanOut()), fromNow(call())
	b.ReportAllocs()
	for b.Loop() {
		t.Begin(r)
		for range 10 {
			t.BeginLeg(r, l)
			t.FinishLeg(r, l)
		}
		t.Finish(r)
	}
}
