package fleet

import (
	"hash/maphash"

	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// listener is one listener; its address tells two apart.
type listener struct{ hear func(*adminv1.Node) }

// Listen calls hear with every data plane that comes, goes, or stands otherwise than before by what it says: in sync or not, its revision, its
// refusals, suspect, draining. That a new change leaves it behind is heard with its next message, within a health report. The node is shared
// and read-only. hear must return at once and must not call the ledger. After stop has returned it isn't called any more.
func (l *Ledger) Listen(hear func(*adminv1.Node)) (stop func()) {
	one := &listener{hear}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.listeners) == 0 {
		for _, n := range l.nodes {
			n.told = l.stance(n)
		}
	}
	l.listeners[one] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.listeners, one)
	}
}

// tell lets listeners hear of a node that stands otherwise than they know; mu is held.
func (l *Ledger) tell(n *node) {
	if len(l.listeners) == 0 {
		return
	}
	now := l.stance(n)
	if now == n.told {
		return
	}
	n.told = now
	m := n.message(l.cfg.Current(n.scope), l.cfg.Revision())
	for one := range l.listeners {
		one.hear(m)
	}
}

// stance is what listeners hear the changes of.
type stance struct {
	connected, inSync, suspect, draining bool

	revision int64
	refused  string
	verdicts uint64 // a sum over all, in no order
}

// stance returns how a node stands; mu is held.
func (l *Ledger) stance(n *node) stance {
	s := stance{connected: n.connected, inSync: n.inSync(l.cfg.Current(n.scope), l.cfg.Revision()), suspect: n.suspect, draining: n.draining, revision: n.revision}
	if n.refused != nil {
		s.refused = n.refused.text
	}
	for key, d := range n.verdicts {
		s.verdicts += maphash.Comparable(seed, told{key, d.rejected, d.field, d.text})
	}
	return s
}

// told is what tells two verdicts apart.
type told struct {
	key         confset.Key
	rejected    bool
	field, text string
}

var seed = maphash.MakeSeed()
