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
	}
	u.Links = linked(v.Changes[0].Traceparent, v.ChangesAfter(from))
	b, err := proto.Marshal(u)
	if err != nil { // a change that isn't text: the config counts, not what is told of it
		return nil
	}
	return b
}

// linked are the calls that made changes, each once, without the one in whose trace the push is: the steps of a staged change all are of one call,
// and a span that is linked to its own parent has no parent any more where Jaeger shows it.
func linked(parent string, changes []view.Change) (out []string) {
	for _, c := range changes {
		if c.Traceparent != "" && c.Traceparent != parent && !slices.Contains(out, c.Traceparent) {
			out = append(out, c.Traceparent)
		}
	}
	return out
}

func (s *Server) newPush(scope view.Scope, v *view.View, streams int) *push {
	first := v.Changes[0]
	parent := parse(first.Traceparent)
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.Int64(attr.Revision, v.Revision), attribute.String(attr.Change, first.ID),
		attribute.String(attr.Region, scope.Region), attribute.String(attr.Replica, s.cfg.Replica), attribute.Int(attr.Nodes, streams))}
	for _, tp := range linked(first.Traceparent, v.Changes) {
		if sc := trace.SpanContextFromContext(parse(tp)); sc.IsValid() {
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
