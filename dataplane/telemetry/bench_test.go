package telemetry_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// benchKit writes access lines to nowhere, with its writer running.
func benchKit(b *testing.B, format string, ratio float64) *telemetry.Telemetry {
	b.Helper()
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()), sdktrace.WithIDGenerator(telemetry.IDGenerator{}))
	t, err := telemetry.New(telemetry.Config{Access: io.Discard, Format: format, Registry: prometheus.NewRegistry(), Tracer: provider,
		SampleRatio: func() float64 { return ratio }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- t.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
		_ = provider.Shutdown(context.Background())
	})
	return t
}

// fromNow gives the record times with a monotonic reading, as real ones have.
func fromNow(r *telemetry.Record) *telemetry.Record {
	now, u := time.Now(), &r.Upstream
	for _, at := range []*time.Time{&r.Start, &r.AuthEnd, &r.Read, &r.Routed, &r.End, &u.Start, &u.DNSStart, &u.DNSDone, &u.ConnStart,
		&u.ConnDone, &u.Sent, &u.Headers, &u.First, &u.End} {
		if !at.IsZero() {
			*at = now.Add(at.Sub(t0))
		}
	}
	return r
}

func benchmarkRequest(b *testing.B, format string, ratio float64, record func() *telemetry.Record) {
	t := benchKit(b, format, ratio)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := fromNow(record())
		for pb.Next() {
			t.Begin(r)
			t.Finish(r)
		}
	})
}

func BenchmarkRequestOff(b *testing.B)   { benchmarkRequest(b, "off", 0, call) }
func BenchmarkRequestHuman(b *testing.B) { benchmarkRequest(b, "human", 0, call) }
func BenchmarkRequestJSON(b *testing.B)  { benchmarkRequest(b, "json", 0, call) }
func BenchmarkRequestSampled(b *testing.B) {
	benchmarkRequest(b, "json", 1, call)
}
func BenchmarkRequestOnePercent(b *testing.B) {
	benchmarkRequest(b, "json", 0.01, call)
}

func BenchmarkStep(b *testing.B) {
	t := benchKit(b, "off", 0)
	r := call()
	t.Begin(r)
	b.ReportAllocs()
	for b.Loop() {
		t.Step(r, telemetry.StepUpstream)
	}
	t.Finish(r)
}

func BenchmarkHops(b *testing.B) {
	r, buf := call(), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = telemetry.AppendHops(buf[:0], r)
	}
}

func BenchmarkFault(b *testing.B) { benchmarkRequest(b, "json", 0, refused) }
