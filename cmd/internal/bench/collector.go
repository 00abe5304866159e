package main

import (
	"context"
	"net"
	"sync/atomic"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// collector is a real OTLP endpoint that counts spans, so that the proxy's exporter does its work during the rounds.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	addr  string
	grpc  *grpc.Server
	spans atomic.Int64
}

func newCollector(ctx context.Context) (*collector, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.82.0.4:0")
	if err != nil {
		return nil, err
	}
	c := &collector{addr: l.Addr().String(), grpc: grpc.NewServer()}
	collectorv1.RegisterTraceServiceServer(c.grpc, c)
	go c.grpc.Serve(l) //nolint:errcheck // ends with stop
	return c, nil
}

// Export counts the spans.
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			c.spans.Add(int64(len(ss.GetSpans())))
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (c *collector) stop() { c.grpc.Stop() }
