package stream

import (
	"log/slog"
	"time"

	"github.com/hopgate/hopgate/controlplane/view"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// flight is one update on its way.
type flight struct {
	view   *view.View
	full   bool
	nonce  uint64
	began  time.Time
	sentAt time.Time // zero: not wholly handed to the connection
	push   *push     // nil: it carries no change
	end    int       // bytes handed over with its last message

	catchUp bool // the stream is younger than the change
}

// outcome of an update, as a metric's label and a span's attribute.
type outcome string

const (
	applied  outcome = "applied"
	warned   outcome = "warned"   // served, with warnings
	rejected outcome = "rejected" // served without some objects
	refused  outcome = "refused"  // nothing of it is served
	mismatch outcome = "mismatch" // the digests differ: resync
	stray    outcome = "stray"    // answers nothing that was asked
)

// offer starts the update to the newest view, if the data plane needs one.
func (s *session) offer() {
	s.server.regroup()
	v := s.sub.Current()
	switch {
	case s.held.is(v) && !s.absolves(v):
		s.held.revision = max(s.held.revision, v.Revision)
		s.member.Holds(v)
		s.server.pass(s, v)
	case s.held.epoch == v.Epoch && s.held.revision > v.Revision:
		// Another replica was ahead of this one: wait until this one has caught up.
	default:
		s.update(v, s.leading(v))
	}
}

// absolves says whether a view, though it is what the data plane holds, is news to it: that what it suspects isn't wanted any more. An empty
// update says so, unless the Welcome has.
func (s *session) absolves(v *view.View) bool {
	d := v.Digest()
	return v != s.greeting && len(s.suspect) > 0 && string(s.suspect) != string(d[:])
}

// leading returns the shortest update to the view: from the set that is held when it is known, else from the revision it stood at, which
// another replica may have sent. Should that lead elsewhere, the digests differ and everything is sent.
func (s *session) leading(v *view.View) *view.Update {
	if d, ok := digestOf(s.held.digest); ok {
		if u := v.Delta(d); u != nil {
			return u
		}
		if u := v.DeltaAfter(s.held.epoch, s.held.revision); u != nil && !s.held.astray {
			return u
		}
	}
	return v.Full()
}

// update queues an update.
func (s *session) update(v *view.View, u *view.Update) {
	s.nonce++
	s.late = nil
	s.flight = &flight{view: v, full: u.Full, nonce: s.nonce, began: time.Now(), catchUp: v.Since.Before(s.began)}
	last := len(u.Parts) - 1
	for i := range u.Parts {
		m := message{update: u, part: i, nonce: s.nonce}
		if i == last && !u.Full {
			s.flight.push, m.trace = s.server.trace(s, v)
		}
		s.queue = append(s.queue, m)
	}
}

// answer handles an ack.
func (s *session) answer(a *syncv1.Ack) {
	switch f := s.flight; {
	case a.GetNonce() == 0:
		s.greeted(a)
	case f != nil && f.nonce == a.GetNonce():
		s.flight = nil
		s.settle(f, a)
	case s.late != nil && s.late.nonce == a.GetNonce():
		s.settle(s.late, a)
	default:
		s.count(stray)
	}
}

// greeted takes what a data plane says of the config it brought along: nonce 0, right after the Welcome, once.
func (s *session) greeted(a *syncv1.Ack) {
	v := s.greeting
	s.greeting = nil
	if v == nil || !s.held.is(v) || string(a.GetDigest()) != string(s.held.digest) {
		s.count(stray)
		return
	}
	s.member.Applied(v, a, true)
	s.count(worst(a))
}

// settle records how an update was taken and resyncs when the digests differ.
func (s *session) settle(f *flight, a *syncv1.Ack) {
	want := f.view.Digest()
	took := !a.GetRefused() && string(a.GetDigest()) == string(want[:])
	suspect := a.GetRefused() && string(s.suspect) == string(want[:])
	o := refused
	switch {
	case took:
		o = s.took(f, a)
	case !suspect && !f.full:
		o = mismatch
		s.resync(f, a)
	default:
		s.refused(f, a, suspect)
	}
	s.count(o)
	f.answered(s, o, a)
}

func (s *session) took(f *flight, a *syncv1.Ack) outcome {
	if f.view != s.greeting { // else the digest, which it heard in the Welcome, doesn't show that it has read the update
		s.proven = max(s.proven, f.end)
	}
	s.held = held{epoch: f.view.Epoch, digest: a.GetDigest(), revision: f.view.Revision}
	s.late, s.suspect, s.greeting = nil, nil, nil
	s.member.Applied(f.view, a, f.full)
	return worst(a)
}

// resync sends the whole newest set: the data plane didn't end up where the delta leads. Should that fail too, it isn't tried again.
func (s *session) resync(f *flight, a *syncv1.Ack) {
	s.server.metrics.resyncs.Inc()
	s.server.cfg.Log.Warn("a data plane has another digest than it should; sending everything", slog.String("node", s.joined.Node),
		slog.Int64("revision", f.view.Revision), slog.String("reason", a.GetReason()))
	s.held.digest = nil
	v := s.sub.Current()
	s.update(v, v.Full())
}

func (s *session) refused(f *flight, a *syncv1.Ack, suspect bool) {
	s.held.astray = s.held.astray || string(a.GetDigest()) != string(s.held.digest)
	s.held.digest = a.GetDigest()
	s.late = f
	reason := a.GetReason()
	if reason == "" {
		reason = "the data plane holds another digest after the whole set was sent"
	}
	s.member.Refused(f.view, reason, suspect)
	s.server.cfg.Log.Warn("a data plane refused an update", slog.String("node", s.joined.Node), slog.Int64("revision", f.view.Revision),
		slog.Bool("suspect", suspect), slog.String("reason", reason))
}

// worst says what became of the objects of a taken update.
func worst(a *syncv1.Ack) outcome {
	o := applied
	for _, x := range a.GetOutcomes() {
		if x.GetRejected() {
			return rejected
		}
		o = warned
	}
	return o
}

func (s *session) count(o outcome) { s.server.metrics.acks.WithLabelValues(string(o)).Inc() }

// observeSent notes how long a change took to leave.
func (f *flight) observeSent(s *Server) {
	if f.push != nil && !f.catchUp {
		s.metrics.push.Observe(f.sentAt.Sub(f.view.Since).Seconds())
	}
}
