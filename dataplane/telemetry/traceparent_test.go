package telemetry_test

import (
	"context"
	"encoding/hex"
	"math"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

const (
	callerTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan   = "00f067aa0ba902b7"
	callerParent = "00-" + callerTrace + "-" + callerSpan + "-01"
	otherTrace   = "0af7651916cd43dd8448eb211c80319c"
	otherParent  = "00-" + otherTrace + "-b7ad6b7169203331-00"
)

func TestParseTraceparent(t *testing.T) {
	tests := []struct {
		name, in    string
		ok, sampled bool
	}{
		{"sampled", callerParent, true, true},
		{"not sampled", otherParent, true, false},
		{"other flags are ignored", "00-" + callerTrace + "-" + callerSpan + "-02", true, false},
		{"later version with more fields", "01-" + callerTrace + "-" + callerSpan + "-01-more", true, true},
		{"later version glued", "01-" + callerTrace + "-" + callerSpan + "-01more", false, false},
		{"version 00 with more fields", callerParent + "-more", false, false},
		{"version ff", "ff" + callerParent[2:], false, false},
		{"upper case", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false, false},
		{"zero trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, false},
		{"zero span", "00-" + callerTrace + "-0000000000000000-01", false, false},
		{"short", callerParent[:54], false, false},
		{"not hex", "00-" + callerTrace + "-00f067aa0ba902bg-01", false, false},
		{"empty", "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trace, span, sampled, ok := telemetry.ParseTraceparent(tt.in)
			if ok != tt.ok || sampled != tt.sampled {
				t.Fatalf("ok %v sampled %v, want %v %v", ok, sampled, tt.ok, tt.sampled)
			}
			if !ok && (trace != [16]byte{} || span != [8]byte{}) {
				t.Error("ids of a refused value are not zero")
			}
		})
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add(callerParent)
	f.Add("01-" + callerTrace + "-" + callerSpan + "-01-more")
	f.Fuzz(func(t *testing.T, s string) {
		trace, span, sampled, ok := telemetry.ParseTraceparent(s)
		if !ok {
			return
		}
		back := string(telemetry.AppendTraceparent(nil, &telemetry.IDs{Trace: trace, Call: span}, sampled))
		if back[3:53] != s[3:53] {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func TestAdopt(t *testing.T) {
	tests := []struct {
		name, meta, header, state      string
		trusted                        bool
		trace, parent, link, wantState string // "": fresh, none
		sampled                        bool
	}{
		{name: "header alone is the parent", header: callerParent, state: "a=1", trusted: true, trace: callerTrace, parent: callerSpan, wantState: "a=1", sampled: true},
		{name: "meta is the parent and header a link", meta: callerParent, header: otherParent, trusted: true, trace: callerTrace, parent: callerSpan, link: otherTrace, sampled: true},
		{name: "unsampled parent is not sampled", header: otherParent, trusted: true, trace: otherTrace, parent: "b7ad6b7169203331"},
		{name: "the same context twice makes no link", meta: callerParent, header: callerParent, trusted: true, trace: callerTrace, parent: callerSpan, sampled: true},
		{name: "broken meta leaves header, without the state of meta", meta: "junk", header: callerParent, state: "a=1", trusted: true, trace: callerTrace, parent: callerSpan, sampled: true},
		{name: "state with a line break is dropped", header: callerParent, state: "a=1\r\nx: y", trusted: true, trace: callerTrace, parent: callerSpan, sampled: true},
		{name: "untrusted header is a link", header: callerParent, state: "a=1", link: callerTrace},
		{name: "untrusted meta is a link", meta: callerParent, header: otherParent, link: callerTrace},
		{name: "both broken", meta: "junk", header: "junk", trusted: true},
		{name: "none", trusted: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			r := &telemetry.Record{}
			k.Begin(r)
			defer k.Finish(r)
			fresh := r.IDs
			k.Adopt(r, tt.meta, tt.header, tt.state, tt.trusted)
			wantTrace := hex.EncodeToString(fresh.Trace[:])
			if tt.trace != "" {
				wantTrace = tt.trace
			}
			if got := hex.EncodeToString(r.IDs.Trace[:]); got != wantTrace {
				t.Errorf("trace %s, want %s", got, wantTrace)
			}
			if got := orEmpty(r.Parent[:]); got != tt.parent {
				t.Errorf("parent %q, want %q", got, tt.parent)
			}
			if got := orEmpty(r.Link.Trace[:]); got != tt.link {
				t.Errorf("link %q, want %q", got, tt.link)
			}
			if r.State != tt.wantState || r.Sampled != tt.sampled {
				t.Errorf("state %q sampled %v, want %q %v", r.State, r.Sampled, tt.wantState, tt.sampled)
			}
			if r.IDs.Call != fresh.Call || r.IDs.Request != fresh.Request {
				t.Error("our own span ids changed")
			}
			if live := k.InFlight(1); live[0].TraceID != wantTrace {
				t.Errorf("listed under trace %s, want %s", live[0].TraceID, wantTrace)
			}
		})
	}
}

func orEmpty(id []byte) string {
	for _, c := range id {
		if c != 0 {
			return hex.EncodeToString(id)
		}
	}
	return ""
}

func TestUntrustedContextDoesNotUnsample(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.SampleRatio = func() float64 { return 1 } })
	r := &telemetry.Record{}
	k.Begin(r)
	defer k.Finish(r)
	k.Adopt(r, "", otherParent, "", false)
	if !r.Sampled {
		t.Error("an untrusted caller switched sampling off")
	}
}

func TestSamplingFollowsTheRatio(t *testing.T) {
	for _, ratio := range []float64{0, 0.01, 0.25, 1} {
		k := newKit(t, func(c *telemetry.Config) {
			c.SampleRatio, c.Access, c.Tracer = func() float64 { return ratio }, nil, nil
		})
		sdk := sdktrace.TraceIDRatioBased(ratio)
		const n = 10000
		hits := 0
		for range n {
			r := &telemetry.Record{}
			k.Begin(r)
			want := sdk.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: r.IDs.Trace}).Decision == sdktrace.RecordAndSample
			if r.Sampled != want {
				t.Fatalf("ratio %v: trace %x sampled %v, the SDK says %v", ratio, r.IDs.Trace, r.Sampled, want)
			}
			if r.Sampled {
				hits++
			}
			k.Finish(r)
		}
		mean := ratio * n
		if d := math.Abs(float64(hits) - mean); d > 6*math.Sqrt(mean*(1-ratio))+0.5 {
			t.Errorf("ratio %v: %d of %d", ratio, hits, n)
		}
	}
}

func TestIDsAreFresh(t *testing.T) {
	k := newKit(t, nil)
	seen := map[[8]byte]bool{{}: true}
	for range 1000 {
		r := &telemetry.Record{}
		k.Begin(r)
		for _, id := range [][8]byte{r.IDs.Request, r.IDs.Auth, r.IDs.Route, r.IDs.Call} {
			if seen[id] {
				t.Fatalf("span id %x again", id)
			}
			seen[id] = true
		}
		if r.IDs.Trace == [16]byte{} {
			t.Fatal("zero trace")
		}
		k.Finish(r)
	}
}
