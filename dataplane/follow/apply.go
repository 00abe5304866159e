package follow

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/update"
)

const (
	// mostOutcomes bounds the outcomes in one answer, mostEvents those that a span and the log name.
	mostOutcomes = 1000
	mostEvents   = 20
)

// verdict is what is to become of an update.
type verdict struct {
	next   *confset.Set
	delta  confset.Delta
	reason string  // why it is refused; empty: it isn't
	resync bool    // refused, since it doesn't fit what is held
	end    *ending // refused, and the stream is to be left
}

// update takes in one part, and answers after the last.
func (s *session) update(ctx context.Context, part *syncv1.Update) *ending {
	s.overdue = nil
	u, err := s.collect.Add(part)
	if err != nil {
		s.f.metrics.resyncs.Inc()
		return &ending{err: err, resync: true}
	}
	if u == nil {
		return nil
	}
	ack, v := s.f.apply(ctx, u, !s.answered)
	s.answered = s.answered || v.reason == ""
	if s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: ack}}) != nil && v.end == nil {
		return s.failed(ctx)
	}
	if v.resync {
		s.overdue = time.After(resyncWithin)
	}
	return v.end
}

// apply brings an update in force or refuses it, in a span that is a child of the change's. The answer has the outcomes of the objects in
// the update, or with whole those of the whole set.
func (f *Follower) apply(ctx context.Context, u *update.Update, whole bool) (*syncv1.Ack, verdict) {
	start := time.Now()
	_, span := f.tracer.Start(remote(ctx, u.Traceparent), attr.SpanTable, trace.WithLinks(linksTo(u.Links)...), trace.WithAttributes(
		attribute.String(attr.Node, f.cfg.Node),
		attribute.String(attr.Region, f.cfg.Region),
		attribute.Int64(attr.ConfigRevision, u.Revision),
		attribute.Int64(attr.Nonce, int64(u.Nonce)),
		attribute.Bool(attr.Full, u.Full),
		attribute.Int(attr.Objects, len(u.Delta.Upserts)+len(u.Delta.Removals)),
		attribute.StringSlice(attr.Change, u.Changes)))
	defer span.End()

	v := f.judge(u, start)
	if v.reason != "" {
		f.metrics.refused.Inc()
		f.cfg.Log.Error("config refused", "revision", u.Revision, "reason", v.reason)
		span.SetAttributes(attribute.String(attr.Outcome, "refused"))
		span.SetStatus(codes.Error, v.reason)
		return f.ack(u, v.reason, nil), v
	}
	outs := f.adopt(v.delta, v.next, leadsTo(u))
	took := time.Since(start)
	f.metrics.apply.Observe(took.Seconds())
	if whole || u.Full {
		outs = f.cfg.Table.Load().Outcomes()
	}
	f.report(u, outs, took, span)
	return f.ack(u, "", outs), v
}

// leadsTo is the version that an update leads to.
func leadsTo(u *update.Update) table.Version {
	return table.Version{Revision: u.Revision, Epoch: u.Epoch, Digest: u.Digest}
}

// judge works out what an update leads to, or why it is refused.
func (f *Follower) judge(u *update.Update, now time.Time) verdict {
	if held := f.cfg.Table.Load().Version(); u.Epoch == held.Epoch && u.Revision < held.Revision {
		reason := fmt.Sprintf("revision %d is older than %d, which is served, of the same store", u.Revision, held.Revision)
		return verdict{reason: reason, end: &ending{err: fmt.Errorf("this control plane is behind: %s", reason), paced: true, turn: 1}}
	}
	if reason := f.heldOff(u.Digest, now); reason != "" {
		return verdict{reason: reason}
	}
	next, delta, err := u.Over(f.set)
	if err != nil {
		return f.misfit(u, err)
	}
	reason := f.suspicious(u, delta)
	f.hold(reason)
	if reason != "" {
		return verdict{reason: reason}
	}
	if s := f.store.Suspect(); s != nil && s.Version.Digest == u.Digest {
		if err := f.store.Retry(); err != nil {
			return verdict{reason: "suspect, and that it is tried again can't be noted on disk"}
		}
	}
	return verdict{next: next, delta: delta}
}

// misfit refuses an update that doesn't lead to what its digest says. After a delta the control plane sends the whole set on the same
// stream; a whole set that doesn't fit ends the stream.
func (f *Follower) misfit(u *update.Update, err error) verdict {
	f.metrics.resyncs.Inc()
	v := verdict{reason: "not what its digest says: " + err.Error(), resync: true}
	if u.Full {
		v.end = &ending{err: err, paced: true, resync: true}
	}
	return v
}

// adopt puts a config in force: first on disk as pending, then in the table.
func (f *Follower) adopt(d confset.Delta, next *confset.Set, v table.Version) []table.Outcome {
	now := f.cfg.Table.Load()
	if !d.Empty() || now.Version().Epoch != v.Epoch {
		f.keptOnDisk(f.store.Append(d, next, v))
	} else {
		f.absolve(v)
	}
	t, outs := now.Apply(d, v.Revision, v)
	f.cfg.Table.Store(t)
	f.set = next
	f.note(func(s *Status) { s.Loaded = true })
	return outs
}

// ack is the answer to an update. What is held is named after it was applied or refused.
func (f *Follower) ack(u *update.Update, reason string, outs []table.Outcome) *syncv1.Ack {
	held := f.cfg.Table.Load().Version()
	a := &syncv1.Ack{
		Nonce:       u.Nonce,
		Digest:      f.heldDigest(),
		Revision:    held.Revision,
		Refused:     reason != "",
		Reason:      reason,
		AppliedTime: timestamppb.Now(),
	}
	for _, o := range outs[:min(len(outs), mostOutcomes)] {
		a.Outcomes = append(a.Outcomes, &syncv1.Outcome{Kind: o.Key.Kind, Name: o.Key.Name, Rejected: o.Rejected, Field: o.Field, Text: o.Text})
	}
	return a
}

// report tells log and span what became of an update.
func (f *Follower) report(u *update.Update, outs []table.Outcome, took time.Duration, span trace.Span) {
	rejected := 0
	for _, o := range outs {
		if o.Rejected {
			rejected++
		}
	}
	f.cfg.Log.Info("config applied", "revision", u.Revision, "upserts", len(u.Delta.Upserts), "removals", len(u.Delta.Removals),
		"full", u.Full, "rejected", rejected, "took", took)
	outcome := "applied"
	for _, o := range outs[:min(len(outs), mostEvents)] {
		f.cfg.Log.Warn("object not simply applied", attr.Object, o.Key.String(), "rejected", o.Rejected, attr.Field, o.Field, "text", o.Text)
		name := "warned"
		if o.Rejected {
			name, outcome = "rejected", "rejected"
		}
		span.AddEvent(name, trace.WithAttributes(attribute.String(attr.Object, o.Key.String()), attribute.String(attr.Field, o.Field), attribute.String(attr.LogError, o.Text)))
	}
	span.SetAttributes(attribute.Int(attr.Rejected, rejected), attribute.String(attr.Outcome, outcome))
}

// remote returns ctx with the span that a W3C traceparent names as its parent; ctx itself when it names none.
func remote(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

func linksTo(traceparents []string) (links []trace.Link) {
	for _, tp := range traceparents {
		if l := trace.LinkFromContext(remote(context.Background(), tp)); l.SpanContext.IsValid() {
			links = append(links, l)
		}
	}
	return links
}
