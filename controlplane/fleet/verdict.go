package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// judge replaces a node's verdicts by what an ack says; mu is held.
func (l *Ledger) judge(n *node, v *view.View, outcomes []*syncv1.Outcome, full bool) {
	was := n.verdicts
	if len(was) == 0 && len(outcomes) == 0 {
		return
	}
	l.unindex(n)
	n.verdicts = map[confset.Key]*verdict{}
	for key, d := range was {
		if o, ok := v.Set.Get(key); ok && o.Hash == d.hash && !full {
			n.verdicts[key] = d
		}
	}
	for _, o := range outcomes {
		n.add(v, o, was)
	}
	l.index(n)
}

// add notes one outcome. A verdict that was there already keeps its time.
func (n *node) add(v *view.View, o *syncv1.Outcome, was map[confset.Key]*verdict) {
	key := confset.Key{Kind: o.GetKind(), Name: o.GetName()}
	obj, ok := v.Set.Get(key)
	if !ok || len(n.verdicts) >= mostVerdicts && n.verdicts[key] == nil {
		return
	}
	d := &verdict{hash: obj.Hash, rejected: o.GetRejected(), field: clip(o.GetField(), mostWord), text: clip(o.GetText(), mostText), since: time.Now()}
	if old := was[key]; old != nil && old.hash == d.hash && old.rejected == d.rejected && old.text == d.text {
		d.since = old.since
	}
	if first := n.verdicts[key]; first != nil && first.rejected && !d.rejected && was[key] != first {
		return
	}
	n.verdicts[obj.Key] = d
}

// stands says whether a verdict is about what the node holds now.
func (n *node) stands(key confset.Key, d *verdict) bool {
	return n.at.holds(key, d.hash)
}

// index lets the verdicts of a connected node be found by object; mu is held.
func (l *Ledger) index(n *node) {
	for key, d := range n.verdicts {
		byNode := l.verdicts[key]
		if byNode == nil {
			byNode = map[*node]*verdict{}
			l.verdicts[key] = byNode
		}
		byNode[n] = d
	}
}

func (l *Ledger) unindex(n *node) {
	for key := range n.verdicts {
		delete(l.verdicts[key], n)
		if len(l.verdicts[key]) == 0 {
			delete(l.verdicts, key)
		}
	}
}

// sorted returns the keys of a map in order.
func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
