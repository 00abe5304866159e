package telemetry

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/proto/fault"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// maxHealth is how many servers one report names (SyncService's Health message).
const maxHealth = 1000

// health is what the last calls of one server said about it.
type health struct {
	okAt  atomic.Int64 // unix nanoseconds of the last answered call
	tally tally

	mu       sync.Mutex
	failAt   int64  // guarded by mu
	failure  string // guarded by mu
	reported int64  // guarded by mu; newest time already reported
}

// note learns from a request that had an upstream leg: an answer of any kind is health, also one that refuses the era of the call, a session that
// is gone, or what the caller got wrong; another fault of the leg is not. A call that ended for the caller's or the gateway's reasons before an answer says nothing. Of a server that gets no calls for a
// while the failure is told that led to it.
func (h *health) note(r *Record) {
	switch {
	case r.Fault != nil && unwell(r):
		failure := lastly(r.Fault)
		h.mu.Lock()
		h.failAt, h.failure = r.End.UnixNano(), failure
		h.mu.Unlock()
	case r.Fault == nil || !r.Upstream.Headers.IsZero():
		h.okAt.Store(r.End.UnixNano())
	}
}

// lastly is a fault as control planes are told of it.
func lastly(f *fault.Error) string {
	why := fault.As(f.Err)
	if f.Kind != fault.CircuitOpen || why == nil {
		return f.Header()
	}
	named := *why
	named.Server = f.Server
	return named.Header()
}

// drain returns what is new since the last call; at is 0 when nothing is.
func (h *health) drain() (at int64, ok bool, failure string) {
	okAt := h.okAt.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	newest := max(okAt, h.failAt)
	if newest <= h.reported {
		return 0, false, ""
	}
	h.reported = newest
	if okAt > h.failAt {
		return newest, true, ""
	}
	return newest, false, h.failure
}

// UpstreamHealth returns the last outcome of each server that had traffic since the previous call, by name, at most 1,000; the rest comes
// with the next call.
func (t *Telemetry) UpstreamHealth() []*syncv1.UpstreamHealth {
	var out []*syncv1.UpstreamHealth
	t.series.servers.each(func(name string, sv *serverSeries) {
		if name == "" || name == other || len(out) == maxHealth {
			return
		}
		if at, ok, failure := sv.health.drain(); at != 0 {
			out = append(out, &syncv1.UpstreamHealth{Server: name, Ok: ok, Error: failure, Time: timestamppb.New(time.Unix(0, at))})
		}
	})
	slices.SortFunc(out, func(a, b *syncv1.UpstreamHealth) int { return cmp.Compare(a.Server, b.Server) })
	return out
}
