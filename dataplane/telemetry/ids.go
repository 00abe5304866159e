package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// newIDs draws ids that are never all zero. The bit that makes them so is the last one, which sampling doesn't look at.
func newIDs() (ids IDs) {
	binary.BigEndian.PutUint64(ids.Trace[:8], rand.Uint64())
	binary.BigEndian.PutUint64(ids.Trace[8:], rand.Uint64()|1)
	ids.Request, ids.Auth, ids.Route, ids.Call = newSpanID(), newSpanID(), newSpanID(), newSpanID()
	return ids
}

func newSpanID() (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// sampledBy decides as OpenTelemetry's TraceIDRatioBased does, so that every process with the same ratio decides alike.
func sampledBy(id [16]byte, ratio float64) bool {
	switch {
	case ratio <= 0:
		return false
	case ratio >= 1:
		return true
	}
	return binary.BigEndian.Uint64(id[8:])>>1 < uint64(ratio*(1<<63))
}

// IDGenerator gives spans the ids their record chose, and random ids to spans that have no record. The zero value is ready.
type IDGenerator struct{}

var _ sdktrace.IDGenerator = IDGenerator{}

type chosenKey struct{}

type chosen struct {
	trace trace.TraceID
	span  trace.SpanID
}

// withIDs makes the next span started under ctx have these ids.
func withIDs(ctx context.Context, traceID [16]byte, span [8]byte) context.Context {
	return context.WithValue(ctx, chosenKey{}, chosen{traceID, span})
}

// NewIDs implements sdktrace.IDGenerator.
func (IDGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if c, ok := ctx.Value(chosenKey{}).(chosen); ok {
		return c.trace, c.span
	}
	ids := newIDs()
	return ids.Trace, ids.Call
}

// NewSpanID implements sdktrace.IDGenerator.
func (IDGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if c, ok := ctx.Value(chosenKey{}).(chosen); ok {
		return c.span
	}
	return newSpanID()
}
