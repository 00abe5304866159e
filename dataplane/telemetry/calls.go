package telemetry

import (
	"cmp"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/hopgate/hopgate/proto/fault"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// tally counts the calls of one server that say something about it.
type tally struct {
	ended, failed         atomic.Int64
	toldEnded, toldFailed atomic.Int64 // of those, already reported
}

// count takes in a request and reports whether the server, or the way to it, made it fail. A call that was settled here, or that its caller
// left before an answer, says nothing.
func (t *tally) count(r *Record) (failed bool) {
	failed = r.Fault != nil && blames(r)
	if !failed && (r.Upstream.Start.IsZero() || r.Fault != nil && r.Upstream.Headers.IsZero()) {
		return false
	}
	if failed {
		t.failed.Add(1)
	}
	t.ended.Add(1)
	return failed
}

// blames says whether a fault speaks against the server as it is configured: the way to it, its answer, or the credential that it is called
// with. A session that is gone and a request that was the caller's to get right don't.
func blames(r *Record) bool {
	f := r.Fault
	if f.Hop == fault.AuthServer {
		return !r.Credential.Start.IsZero() && f.Kind != fault.NeedsReauth && f.Kind != fault.Unauthenticated
	}
	return unwell(r)
}

// unwell says whether a fault is the upstream's own.
func unwell(r *Record) bool {
	f := r.Fault
	return f.Hop == fault.Upstream && !otherEra(r) && f.Phase != fault.Session && (!f.Remote || !callers(f.Kind))
}

// otherEra says whether a server refused only because it speaks another era of MCP than the call, or doesn't know its method in that era: clients
// find out what a server speaks by asking it in ways that it needn't know, so its refusal is an answer like any other.
func otherEra(r *Record) bool {
	f := r.Fault
	switch {
	case f.Hop != fault.Upstream:
		return false
	case f.Code == fault.CodeVersion: // in our words, or the server's own
		return true
	case !f.Remote || f.Phase != fault.Headers:
		return false
	case f.UpstreamStatus == http.StatusNotFound && f.Kind == fault.Unsupported: // -32601, 2026-07-28
		return true
	case r.Method != "server/discover" && r.Method != "initialize":
		return false
	}
	return f.UpstreamStatus == http.StatusBadRequest || f.UpstreamStatus == http.StatusNotFound && r.Outcome != "" // with a JSON-RPC error
}

// callers says whether what an upstream says is about the request, not about the server.
func callers(k fault.Kind) bool {
	switch k {
	case fault.Malformed, fault.Conflict, fault.TooLarge, fault.Exhausted:
		return true
	}
	return false
}

// untold returns what wasn't reported yet. What is counted meanwhile may be in it or not; failed is never more than ended.
func (t *tally) untold() (ended, failed int64) {
	failed = t.failed.Load() - t.toldFailed.Load()
	return t.ended.Load() - t.toldEnded.Load(), failed
}

func (t *tally) tell(c *syncv1.ServerCalls) {
	t.toldEnded.Add(c.GetCalls())
	t.toldFailed.Add(c.GetFailed())
}

// counted is one server's part of a report.
type counted struct {
	tally *tally
	calls *syncv1.ServerCalls
}

// ServerCalls returns how many calls to each server ended, and how many of them the server or the way to it made fail, since the previous call:
// at most 1,000 servers, those with failures first, then by name; the rest comes with the next call. One goroutine at a time may call it.
func (t *Telemetry) ServerCalls() []*syncv1.ServerCalls {
	t.series.failing.Store(false) // first: what fails from here on is for the next report
	var all []counted
	t.series.servers.each(func(name string, sv *serverSeries) {
		if name == "" || name == other {
			return
		}
		if ended, failed := sv.health.tally.untold(); ended > 0 || failed > 0 {
			all = append(all, counted{&sv.health.tally, &syncv1.ServerCalls{Server: name, Calls: max(ended, failed), Failed: failed}})
		}
	})
	slices.SortFunc(all, func(a, b counted) int {
		return cmp.Or(cmp.Compare(min(b.calls.Failed, 1), min(a.calls.Failed, 1)), cmp.Compare(a.calls.Server, b.calls.Server))
	})
	if len(all) > maxHealth {
		if all[maxHealth].calls.Failed > 0 {
			t.series.failing.Store(true)
		}
		all = all[:maxHealth]
	}
	out := make([]*syncv1.ServerCalls, 0, len(all))
	for _, c := range all {
		c.tally.tell(c.calls)
		out = append(out, c.calls)
	}
	return out
}

// Failing says whether calls to a server failed that ServerCalls didn't return yet. It costs one atomic load.
func (t *Telemetry) Failing() bool { return t.series.failing.Load() }
