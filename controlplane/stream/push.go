package stream

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/attr"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	slowestMost  = 50  // ack spans of answers that were fine: the slowest
	rejectedMost = 200 // ack spans of the others
	toldMost     = 64  // revisions for which it is kept what a push tells of its changes
)

// crowd is the streams that get the same views and the push that is under way among them. The server's mu guards it.
type crowd struct {
	streams int
	push    *push
	view    *view.View // that passed streams need no update for
	passed  int
}

// push is one view on its way to the streams of a scope: the span of it, and what becomes child spans when it ends.
type push struct {
	server *Server
	view   *view.View
	span   trace.Span
	ctx    context.Context
	expiry *time.Timer

	traceparent string

	mu      sync.Mutex
	ended   bool
	waiting int // streams of the scope that haven't answered
	counts  map[outcome]int
	slowest []answer
	failed  []answer
	told    map[int64][]byte // by revision that a data plane stood at
}

// answer is one ack.
type answer struct {
	node      string
	sent, got time.Time
	outcome   outcome
	text      string
}

func (a answer) took() time.Duration { return a.got.Sub(a.sent) }

// gather counts a stream in; mu is held.
func (s *Server) gather(sess *session, into view.Crowd) {
	c := s.crowds[into]
	if c == nil {
		c = &crowd{}
		s.crowds[into] = c
	}
	sess.crowd = into
	c.streams++
	if sess.passed != nil && sess.passed == c.view {
		c.passed++
	}
	if p := c.push; p != nil && sess.owes != p && sess.heard.Load() != p && sess.passed != p.view {
		p.expect()
	}
}

// disperse counts a stream out; mu is held. A push that it owes an answer waits for it unless the stream is over.
func (s *Server) disperse(sess *session, over bool) {
	c := s.crowds[sess.crowd]
	c.streams--
	if sess.passed != nil && sess.passed == c.view {
		c.passed--
	}
	if p := c.push; p != nil && sess.passed != p.view && (over || sess.owes != p) {
		p.hear(sess, answer{})
	}
	if c.streams == 0 { // its push ends with the answers of those that moved on
		delete(s.crowds, sess.crowd)
	}
}

// regroup brings every stream into its crowd once a rollout has moved, all at once, so that a push knows from the start who is to answer.
func (s *Server) regroup() {
	now := s.cfg.Views.Crowds()
	if *s.sorted.Load() == now {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regroupLocked()
}

func (s *Server) regroupLocked() {
	now := s.cfg.Views.Crowds()
	if *s.sorted.Load() == now {
		return
	}
	s.sorted.Store(&now)
	for _, sess := range s.sessions {
		if to := now.Of(sess.joined.Scope); to != sess.crowd {
			s.disperse(sess, false)
			s.gather(sess, to)
		}
	}
}

// pass notes that a stream needs no update for a view: a push of it doesn't wait for that stream, nor will one that is still to come.
func (s *Server) pass(sess *session, v *view.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[sess.crowd]
	if sess.passed == v {
		return
	}
	if p := c.push; p != nil && p.view == v {
		p.hear(sess, answer{})
	}
	if c.view != nil && c.view.Epoch == v.Epoch && c.view.Revision > v.Revision {
		return // it is being overtaken
	}
	if c.view != v {
		c.view, c.passed = v, 0
	}
	sess.passed = v
	c.passed++
}

// trace returns the push that an update to a view belongs to, and the fields of its last part that tell of the changes in it, encoded; nil when
// there is no change in it.
func (s *Server) trace(sess *session, v *view.View) (*push, []byte) {
	if len(v.Changes) == 0 || sess.held.epoch != v.Epoch {
		return nil, nil
	}
	newest := v.Changes[len(v.Changes)-1]
	if newest.Revision <= sess.held.revision && len(v.ChangesAfter(sess.held.revision)) == 0 {
		return nil, nil
	}
	p := s.pushOf(sess, v)
	return p, p.tell(v, sess.held.revision)
}

// tell returns what a push to a data plane that stands at a revision says of its changes. Data planes stand at few revisions: it is made once
// for each.
func (p *push) tell(v *view.View, from int64) []byte {
	if p.view != v {
		return p.encode(v, from)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	told, ok := p.told[from]
	if !ok {
		told = p.encode(v, from)
		if len(p.told) < toldMost {
			p.told[from] = told
		}
	}
	return told
}

func (p *push) encode(v *view.View, from int64) []byte {
	u := &syncv1.Update{Traceparent: p.traceparent}
	for _, c := range v.ChangesAfter(from) {
		u.Changes = append(u.Changes, c.ID)
		if c.ID != v.Changes[0].ID && c.Traceparent != "" {
			u.Links = append(u.Links, c.Traceparent)
		}
	}
	b, err := proto.Marshal(u)
	if err != nil { // a change that isn't text: the config counts, not what is told of it
		return nil
	}
	return b
}

// pushOf returns the push of a view among the streams of a crowd; the first stream starts it and ends the one before.
func (s *Server) pushOf(sess *session, v *view.View) *push {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[sess.crowd]
	if c.push == nil || c.push.view != v && (c.push.view.Epoch != v.Epoch || c.push.view.Revision <= v.Revision) {
		c.push.end()
		if c.view != v {
			c.view, c.passed = nil, 0
		}
		c.push = s.newPush(sess.joined.Scope, v, max(c.streams-c.passed, 1))
	} // else that of a newer view is near enough for a stream that is just being overtaken
	sess.owes = c.push
	if sess.passed != c.push.view {
		sess.passed = nil // not to keep an old view
	}
	return c.push
}

func (s *Server) newPush(scope view.Scope, v *view.View, streams int) *push {
	first := v.Changes[0]
	parent := parse(first.Traceparent)
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.Int64(attr.Revision, v.Revision), attribute.String(attr.Change, first.ID),
		attribute.String(attr.Region, scope.Region), attribute.String(attr.Replica, s.cfg.Replica), attribute.Int(attr.Nodes, streams))}
	for _, c := range v.Changes[1:] {
		if sc := trace.SpanContextFromContext(parse(c.Traceparent)); sc.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
		}
	}
	p := &push{server: s, view: v, waiting: streams, counts: map[outcome]int{}, told: map[int64][]byte{}}
	p.ctx, p.span = s.tracer.Start(parent, attr.SpanPush+" "+scope.String(), opts...)
	p.traceparent = traceparent(p.ctx)
	p.expiry = time.AfterFunc(s.cfg.AckTimeout, p.end)
	return p
}

// answered tells the flight's push, if it has one, how it was taken.
func (f *flight) answered(s *session, o outcome, a *syncv1.Ack) {
	now := time.Now()
	s.server.metrics.ack.Observe(now.Sub(f.began).Seconds())
	if f.push != nil {
		f.push.hear(s, answer{node: s.joined.Node, sent: f.began, got: now, outcome: o, text: a.GetReason()})
	}
}

// expect counts in a stream that came later.
func (p *push) expect() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
}

// hear takes in, once, the answer of a stream, or (without a node) that none will come. The push ends with the last one.
func (p *push) hear(s *session, a answer) {
	if p == nil || s.heard.Swap(p) == p {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	if a.node != "" {
		p.keep(a)
	}
	if p.waiting--; p.waiting <= 0 {
		p.endLocked()
	}
}

// keep notes an answer; mu is held.
func (p *push) keep(a answer) {
	p.counts[a.outcome]++
	switch {
	case !p.span.IsRecording():
	case a.outcome != applied:
		if len(p.failed) < rejectedMost {
			p.failed = append(p.failed, a)
		}
	case len(p.slowest) < slowestMost:
		p.slowest = append(p.slowest, a)
	default:
		fastest := 0
		for i := range p.slowest {
			if p.slowest[i].took() < p.slowest[fastest].took() {
				fastest = i
			}
		}
		if p.slowest[fastest].took() < a.took() {
			p.slowest[fastest] = a
		}
	}
}

// end makes the ack spans and ends the push, once. A nil push has nothing to end.
func (p *push) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
}

func (p *push) endLocked() {
	if p.ended {
		return
	}
	p.ended = true
	p.expiry.Stop()
	for _, a := range slices.Concat(p.slowest, p.failed) {
		p.ackSpan(a)
	}
	for o, n := range p.counts {
		p.span.SetAttributes(attribute.Int(attr.Nodes+"."+string(o), n))
	}
	p.span.End()
	p.slowest, p.failed = nil, nil
}

func (p *push) ackSpan(a answer) {
	_, span := p.server.tracer.Start(p.ctx, attr.SpanAck+" "+a.node, trace.WithTimestamp(a.sent), trace.WithSpanKind(trace.SpanKindInternal),
		trace.WithAttributes(attribute.String(attr.Node, a.node), attribute.String(attr.Outcome, string(a.outcome))))
	if a.outcome != applied && a.outcome != warned {
		span.SetStatus(codes.Error, a.text)
	}
	span.End(trace.WithTimestamp(a.got))
}

// parse returns a context with the span a traceparent names; without a valid one it has none.
func parse(traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
}

func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
