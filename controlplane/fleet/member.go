package fleet

import (
	"time"

	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Joined is who opened a stream.
type Joined struct {
	// Node is its name, unique in the fleet.
	Node string
	// Scope is what it gets.
	Scope view.Scope
	// Version of its program.
	Version string
	// Boot is random per start of its process; empty: it didn't say.
	Boot string
	// Suspect: it crashed under a config and will refuse that one.
	Suspect bool
	// Relay: it is a region's relay.
	Relay bool
	// CertificateEnds is when the certificate it came with ends; zero: it came without one.
	CertificateEnds time.Time
	// Epoch, Revision and Digest of what it holds.
	Epoch    string
	Revision int64
	Digest   []byte
}

// Member writes what one stream's data plane says into the ledger. After another stream of the same node joined, or after Leave, its calls
// do nothing.
type Member struct {
	ledger *Ledger
	node   *node
	term   uint64 // the node's term this stream belongs to
}

// Join notes that a data plane opened a stream. An earlier stream of the same node is superseded.
func (l *Ledger) Join(j Joined) *Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[j.Node]
	if n == nil {
		n = &node{name: j.Node}
		l.nodes[j.Node] = n
	}
	if n.gone != nil {
		l.gone.Remove(n.gone)
		n.gone = nil
	}
	n.join(j)
	if !n.connected {
		n.connected = true
		l.connected++
		n.at = position{epoch: j.Epoch, revision: j.Revision, level: n.level()}
		l.positions[n.at]++
		l.index(n)
	} else {
		l.stand(n, position{epoch: j.Epoch, revision: j.Revision})
	}
	n.term++
	l.trust(n, nil)
	l.tell(n)
	return &Member{ledger: l, node: n, term: n.term}
}

// with calls f with the ledger locked, unless the member is superseded.
func (m *Member) with(f func(l *Ledger, n *node)) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	if m.node.term == m.term && m.node.connected {
		f(m.ledger, m.node)
		m.ledger.tell(m.node)
	}
}

// Holds notes that the node holds exactly the view without having been sent anything: the digests are equal.
func (m *Member) Holds(v *view.View) {
	m.with(func(l *Ledger, n *node) {
		n.say(v.Revision, v.Set.Digest())
		l.arrive(n, v)
	})
}

// Applied notes that the node serves the view now. With full set, earlier verdicts on objects that the ack doesn't name are void; else only
// those on objects that changed.
func (m *Member) Applied(v *view.View, ack *syncv1.Ack, full bool) {
	m.with(func(l *Ledger, n *node) {
		at := time.Now()
		if t := ack.GetAppliedTime(); t.IsValid() {
			at = t.AsTime()
		}
		n.applied, n.suspect = at, false
		n.say(v.Revision, v.Set.Digest())
		l.judge(n, v, ack.GetOutcomes(), full)
		l.trust(n, nil)
		l.arrive(n, v)
		l.observe(n, v)
	})
}

// Refused notes that the node took nothing of the view. suspect: because it crashed under it before.
func (m *Member) Refused(v *view.View, reason string, suspect bool) {
	m.with(func(l *Ledger, n *node) {
		if suspect {
			n.suspects()
		}
		l.trust(n, &refusal{epoch: v.Epoch, revision: v.Revision, text: clip(reason, mostText), since: time.Now()})
		l.wake()
		l.observe(n, v)
	})
}

// Health notes what the node reports of itself.
func (m *Member) Health(h *syncv1.Health) {
	m.with(func(l *Ledger, n *node) {
		n.draining, n.inFlight = h.GetDraining(), h.GetInFlight()
		if n.relay {
			n.relayed, n.relayedBehind = h.GetRelayed(), h.GetRelayedBehind()
		}
		if len(h.GetDigest()) == len(confset.Digest{}) {
			n.say(h.GetRevision(), confset.Digest(h.GetDigest()))
		}
		l.noteUpstreams(n, h.GetUpstreams())
		l.noteCalls(n, h.GetCalls())
		n.heard = time.Now()
	})
}

// Dismiss notes that a connected data plane is about to be cut off on purpose: it counts as having said that it goes.
func (l *Ledger) Dismiss(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[node]; n != nil && n.connected {
		n.draining = true
		l.tell(n)
	}
}

// Leave notes that the stream ended.
func (m *Member) Leave() {
	m.with(func(l *Ledger, n *node) {
		l.leavePosition(n)
		l.unindex(n)
		delete(l.refusing, n)
		n.connected, n.since, n.at.set = false, time.Now(), nil
		l.connected--
		n.gone = l.gone.PushBack(n)
		l.forget()
		l.wake()
	})
}

// arrive moves a node to a view; mu is held.
func (l *Ledger) arrive(n *node, v *view.View) {
	if n.at.set == nil || n.arrived.IsZero() || n.at.set.Digest() != v.Set.Digest() {
		n.arrived = time.Now()
	}
	l.stand(n, position{epoch: v.Epoch, revision: v.Revision, set: v.Set})
	l.wake()
}

// trust sets or clears (nil) a node's refusal of a whole update; mu is held.
func (l *Ledger) trust(n *node, r *refusal) {
	n.refused = r
	if r == nil {
		delete(l.refusing, n)
	} else {
		l.refusing[n] = struct{}{}
	}
}

// forget drops nodes that are gone for too long or too many; mu is held.
func (l *Ledger) forget() {
	for e := l.gone.Front(); e != nil; e = l.gone.Front() {
		n := e.Value.(*node)
		if l.gone.Len() <= l.cfg.KeepMost && time.Since(n.since) < l.cfg.Keep {
			return
		}
		l.gone.Remove(e)
		l.upstreams -= len(n.upstreams)
		delete(l.nodes, n.name)
	}
}
