package fleet

import (
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
)

// strideMost is how many nodes are looked at in one hold of the lock: a fraction of a millisecond.
const strideMost = 500

// stride calls look for all nodes that there are, in no order, with mu held, and lets others in between.
func (l *Ledger) stride(nodes []*node, look func(*node)) {
	for some := range slices.Chunk(nodes, strideMost) {
		l.mu.Lock()
		for _, n := range some {
			look(n)
		}
		l.mu.Unlock()
	}
}

// all returns every node; mu is held.
func (l *Ledger) all() []*node {
	out := make([]*node, 0, len(l.nodes))
	for _, n := range l.nodes {
		out = append(out, n)
	}
	return out
}

// rings remembers, for one walk, what the data planes that are to have a rollout should be at, and who is there.
type rings struct {
	ledger *Ledger
	state  *rollout.State
	keys   []confset.Key
	views  map[view.Scope]*view.View
	equal  map[[2]*confset.Set]bool
}

func (l *Ledger) rings(s *rollout.State) *rings {
	return &rings{ledger: l, state: s, keys: s.Keys(), views: map[view.Scope]*view.View{}, equal: map[[2]*confset.Set]bool{}}
}

// view returns what a node with the change should be at; nil: not known yet, since the views are behind the rollout. It asks once for all in the
// same place. mu is held.
func (r *rings) view(n *node) *view.View {
	at := n.scope
	at.Node, at.FeatureLevel = "", n.level()
	v, ok := r.views[at]
	if !ok {
		if v = r.ledger.cfg.Current(n.scope); v != nil && v.Revision < r.state.Revision {
			v = nil
		}
		r.views[at] = v
	}
	return v
}

// serves says whether a node that is to have the change stands at a set with it; mu is held.
func (r *rings) serves(n *node, v *view.View) bool {
	if n.at.set == nil || n.at.epoch != v.Epoch {
		return false
	}
	if n.at.set == v.Set {
		return true
	}
	pair := [2]*confset.Set{n.at.set, v.Set}
	same, ok := r.equal[pair]
	if !ok {
		same = alike(pair[0], pair[1], r.keys)
		r.equal[pair] = same
	}
	return same
}

// alike says whether two sets have the same of some objects.
func alike(a, b *confset.Set, keys []confset.Key) bool {
	for _, key := range keys {
		x, inA := a.Get(key)
		y, inB := b.Get(key)
		if inA != inB || inA && x.Hash != y.Hash {
			return false
		}
	}
	return true
}

// rejects returns what a node has against one of the objects as it holds them; nil: nothing.
func (n *node) rejects(keys []confset.Key) (confset.Key, *verdict) {
	if len(n.verdicts) == 0 {
		return confset.Key{}, nil
	}
	for _, key := range keys {
		if d := n.verdicts[key]; d != nil && d.rejected && n.stands(key, d) {
			return key, d
		}
	}
	return confset.Key{}, nil
}

// shortlist keeps the first findings in the order of node names.
type shortlist struct {
	most int
	list []rollout.Finding
}

// fits says whether a finding about a node would be kept.
func (s *shortlist) fits(node string) bool {
	return len(s.list) < s.most || node < s.list[len(s.list)-1].Node
}

func (s *shortlist) add(f rollout.Finding) {
	at, _ := slices.BinarySearchFunc(s.list, f.Node, func(f rollout.Finding, node string) int { return strings.Compare(f.Node, node) })
	s.list = slices.Insert(s.list, at, f)
	s.list = s.list[:min(len(s.list), s.most)]
}
