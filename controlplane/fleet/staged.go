package fleet

import (
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// StagedDelivery is Delivery for a staged change, committed at a revision: data planes that aren't to have it yet, or that don't serve it, are
// pending however new what they serve is. A rollout that is over leaves no difference to Delivery.
func (l *Ledger) StagedDelivery(s *rollout.State, revision int64, objects []confset.Key) *adminv1.Delivery {
	if s == nil || !s.Open() {
		return l.Delivery(revision, objects)
	}
	var said refusals
	d := &adminv1.Delivery{}
	l.mu.Lock()
	r, nodes := l.rings(s), l.all()
	l.mu.Unlock()
	l.stride(nodes, func(n *node) {
		if !n.connected {
			return
		}
		d.Nodes++
		if !s.Active() || !s.Admits(n.place()) {
			d.Pending++
			return
		}
		v := r.view(n)
		switch _, rejected := n.rejects(objects); {
		case v != nil && r.serves(n, v) && rejected != nil:
			d.Rejected++
			said.add(n.name, rejected)
		case v != nil && r.serves(n, v) || v == nil && n.part != nil && n.part.of == l.rolling && n.part.serving:
			d.Applied++
		case n.refused != nil && n.refused.revision >= revision:
			d.Rejected++
			said.add(n.name, &verdict{rejected: true, text: n.refused.text, since: n.refused.since})
		default:
			d.Pending++
		}
	})
	d.Refusals = said.list()
	return d
}
