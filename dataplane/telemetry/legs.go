package telemetry

import (
	"strings"
	"sync"
	"time"
)

// maxLegs is how many legs of one request are kept for its spans; those beyond are counted.
const maxLegs = 256

// fewLegs is how many there is room for at first.
const fewLegs = 8

// legs are what a request to several servers keeps of its calls to each. Only such requests have them.
type legs struct {
	mu     sync.Mutex
	kept   []leg    // guarded by mu; in the order in which they ended
	ended  int      // guarded by mu; those not kept too
	failed int      // guarded by mu
	why    faultKey // guarded by mu; of the first that failed
}

// leg is what spans and diagnostic headers need of one call. Nothing in it belongs to the leg's record.
type leg struct {
	ids                   IDs
	start, end            time.Time
	method, tool, prompt  string
	resource, requestID   string
	revision, session     string
	server, addr, outcome string
	port, status          int
	attempts              int
	credential            Span
	upstream              Timing
	failure               *failure
}

// making guards the pointer to a request's legs: the first of them may begin in any goroutine.
var making sync.Mutex

// legsOf returns the legs of a request; with begin they are there from now on.
func legsOf(r *Record, begin bool) *legs {
	making.Lock()
	defer making.Unlock()
	if r.legs == nil && begin {
		r.legs = &legs{}
	}
	return r.legs
}

// BeginLeg prepares the record of a call to one of several servers on behalf of parent: same trace, same sampling decision, a CLIENT span of its
// own, and what is known of the caller. It isn't listed as in flight. A zero Start becomes now. Every BeginLeg needs one FinishLeg.
//
// The legs of one request may begin and finish in different goroutines, while the owner of parent leaves its IDs and caller as they are.
func (t *Telemetry) BeginLeg(parent, leg *Record) {
	leg.leg, leg.legs = true, legsOf(parent, true)
	if leg.Start.IsZero() {
		leg.Start = time.Now()
	}
	leg.IDs = parent.IDs
	leg.IDs.Call = newSpanID()
	leg.Sampled, leg.Debug, leg.State = parent.Sampled, parent.Debug, parent.State
	leg.HTTPMethod, leg.Path, leg.ClientAddr = parent.HTTPMethod, parent.Path, parent.ClientAddr
	leg.Caller, leg.EndUser, leg.Session = parent.Caller, parent.EndUser, parent.Session
	leg.ConfigRevision = parent.ConfigRevision
}

// FinishLeg tells about a leg: the metrics and the health of its server, on a fault the error line and the counter. Its span comes with those of
// parent, of which a leg's fault exports all; the first 256 legs of a request have one. A zero End becomes now. It does nothing for a record
// that isn't between BeginLeg and FinishLeg, so a second call is harmless. A leg that finishes after its parent is counted, but has no span.
//
// It keeps nothing of the leg's record, and doesn't touch parent, which may be another request's by then.
func (t *Telemetry) FinishLeg(_, leg *Record) {
	if !leg.leg {
		return
	}
	if leg.End.IsZero() {
		leg.End = time.Now()
	}
	t.series.observeLeg(leg)
	if leg.Fault != nil {
		t.series.fault(leg)
		if t.errorOut != nil {
			t.errorOut.write(leg)
		}
	}
	leg.legs.add(leg)
	leg.leg, leg.legs = false, nil
}

// ExportLegs exports the spans of legs that ended after their parent was told of, under the parent's own span, if it was sampled or one of them
// failed. parent is a copy of that record with legs of its own, which end with it; of the request nothing is told again.
func (t *Telemetry) ExportLegs(parent *Record) {
	if t.spans != nil {
		if k, failed := parent.legs.fault(); parent.Sampled {
			t.spans.late(parent)
		} else if failed {
			t.spans.lateFault(parent, k)
		}
	}
	parent.legs = nil
}

func (l *legs) add(r *Record) {
	last := keptLeg(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	if r.Fault != nil {
		if l.failed == 0 {
			l.why = keyOf(r)
			l.why.server = strings.Clone(l.why.server)
		}
		l.failed++
	}
	if l.kept == nil {
		l.kept = make([]leg, 0, fewLegs)
	}
	if len(l.kept) < maxLegs {
		l.kept = append(l.kept, last)
	}
}

func keptLeg(r *Record) leg {
	l := leg{
		ids: r.IDs, start: r.Start, end: r.End, port: r.UpstreamPort, status: r.UpstreamStatus, attempts: r.Attempts,
		credential: r.Credential, upstream: r.Upstream, failure: failureOf(r.Fault),
		method: r.Method, tool: r.Tool, prompt: r.Prompt, resource: r.Resource, requestID: r.RequestID,
		revision: r.Revision, session: r.Session, server: r.Server, addr: r.UpstreamAddr, outcome: r.Outcome,
	}
	own(&l.method, &l.tool, &l.prompt, &l.resource, &l.requestID, &l.revision, &l.session, &l.server, &l.addr, &l.outcome, &l.upstream.Remote)
	return l
}

// own makes texts copies of themselves, cut to what is shown, that share one allocation.
func own(texts ...*string) {
	size := 0
	for _, s := range texts {
		*s = cut(*s, maxText)
		size += len(*s)
	}
	var b strings.Builder
	b.Grow(size)
	for _, s := range texts {
		b.WriteString(*s)
	}
	all := b.String()
	for _, s := range texts {
		n := len(*s)
		*s, all = all[:n], all[n:]
	}
}

// counts returns how many legs ended and how many of them failed; none for a request without legs.
func (l *legs) counts() (ended, failed int) {
	if l == nil {
		return 0, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended, l.failed
}

// fault returns how the first failed leg failed; ok is false when none did.
func (l *legs) fault() (k faultKey, ok bool) {
	if l == nil {
		return k, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why, l.failed > 0
}

// first returns a copy of at most n of the legs.
func (l *legs) first(n int) []leg {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]leg(nil), l.kept[:min(n, len(l.kept))]...)
}
