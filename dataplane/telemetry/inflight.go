package telemetry

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Step is where a request stands, as /debug/requests shows it.
type Step string

// The steps in the order a request takes them.
const (
	StepAuth     Step = "auth"     // admission
	StepRead     Step = "read"     // reading the body
	StepRoute    Step = "route"    // server, session, policy
	StepUpstream Step = "upstream" // waiting for the upstream's answer
	StepReply    Step = "reply"    // the answer flows
)

// liveShards spreads the lock of the list; a power of two.
const liveShards = 16

// live is a record's link in the list of requests in flight and what others may see of the record meanwhile. All of it is guarded by the
// shard's lock, because the record's own fields belong to one goroutine.
type live struct {
	prev, next *live
	linked     bool
	shard      uint8

	start, since               time.Time
	trace                      [16]byte
	verb, path, client         string
	method, tool, server, name string
	step                       Step
}

type liveShard struct {
	mu   sync.Mutex
	head live     // ring; head is no request
	_    [40]byte // keeps neighbours' locks apart
}

// liveList holds the requests between Begin and Finish.
type liveList struct {
	n      atomic.Int64
	shards [liveShards]liveShard
}

func newLiveList() *liveList {
	l := &liveList{}
	for i := range l.shards {
		h := &l.shards[i].head
		h.prev, h.next = h, h
	}
	return l
}

func (l *liveList) add(r *Record) {
	e := &r.live
	shard := r.IDs.Trace[15] & (liveShards - 1)
	s := &l.shards[shard]
	s.mu.Lock()
	e.shard, e.linked = shard, true
	e.start, e.since, e.trace = r.Start, r.Start, r.IDs.Trace
	e.verb, e.path, e.client = r.HTTPMethod, r.Path, r.ClientAddr
	e.step = StepAuth
	e.prev, e.next = s.head.prev, &s.head
	e.prev.next, s.head.prev = e, e
	s.mu.Unlock()
	l.n.Add(1)
}

// remove reports whether the record was in the list.
func (l *liveList) remove(r *Record) bool {
	e := &r.live
	if !e.linked { // only the owner changes it
		return false
	}
	s := &l.shards[e.shard]
	s.mu.Lock()
	e.prev.next, e.next.prev = e.next, e.prev
	*e = live{}
	s.mu.Unlock()
	l.n.Add(-1)
	return true
}

func (l *liveList) retrace(r *Record) {
	if !r.live.linked {
		return
	}
	s := &l.shards[r.live.shard]
	s.mu.Lock()
	r.live.trace = r.IDs.Trace
	s.mu.Unlock()
}

// Step shows in /debug/requests that the request came to step, with the method, tool, server and caller the record knows by now. It costs
// some 20 ns; a request that never calls it is shown in StepAuth.
func (t *Telemetry) Step(r *Record, step Step) {
	e := &r.live
	if !e.linked {
		return
	}
	now := time.Now()
	s := &t.live.shards[e.shard]
	s.mu.Lock()
	e.step, e.since = step, now
	e.verb, e.path, e.client = r.HTTPMethod, r.Path, r.ClientAddr
	e.method, e.tool, e.server, e.name = r.Method, r.Tool, r.Server, r.Caller
	s.mu.Unlock()
}

// InFlight is a request that has begun and not finished.
type InFlight struct {
	Start   time.Time // when its head was read
	Since   time.Time // when it came to Step
	Step    Step
	TraceID string // 32 hex digits
	HTTP    string // "POST /everything/mcp"
	Client  string // direct peer, host:port
	Method  string // MCP method, "" before it was read
	Tool    string
	Server  string
	Caller  string
}

// InFlight returns the requests in flight, the oldest first, at most limit.
func (t *Telemetry) InFlight(limit int) []InFlight {
	var out []InFlight
	for i := range t.live.shards {
		out = t.live.shards[i].appendTo(out)
	}
	slices.SortFunc(out, func(a, b InFlight) int { return a.Start.Compare(b.Start) })
	return out[:min(limit, len(out))]
}

func (s *liveShard) appendTo(out []InFlight) []InFlight {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.head.next; e != &s.head; e = e.next {
		out = append(out, InFlight{
			Start: e.start, Since: e.since, Step: e.step, TraceID: hex.EncodeToString(e.trace[:]),
			HTTP: strings.TrimSpace(cut(e.verb, maxText) + " " + cut(e.path, maxText)), Client: strings.Clone(e.client),
			Method: strings.Clone(cut(e.method, maxText)), Tool: strings.Clone(cut(e.tool, maxText)),
			Server: strings.Clone(e.server), Caller: strings.Clone(e.name),
		})
	}
	return out
}
