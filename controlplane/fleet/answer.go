package fleet

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// mostRefusals bounds the refusals in one answer.
const mostRefusals = 10

// Nodes returns every data plane that is connected or was within the last hour, in node order.
func (l *Ledger) Nodes() []*adminv1.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	committed := l.cfg.Revision()
	out := make([]*adminv1.Node, 0, len(l.nodes))
	for _, name := range sorted(l.nodes, strings.Compare) {
		n := l.nodes[name]
		out = append(out, n.message(l.cfg.Current(n.scope), committed))
	}
	return out
}

// ObjectStatus says how the connected data planes took an object as it is pushed. Those that don't get it, because their feature level is too
// low for it, count as unsupported.
func (l *Ledger) ObjectStatus(o confset.Object) *configv1.ObjectStatus {
	return l.status(o, func(position) bool { return false })
}

// ScopedStatus is ObjectStatus for an object that only some data planes get: one that stands at the revision it was stored at, or later, and
// doesn't hold it isn't meant to, and isn't counted.
func (l *Ledger) ScopedStatus(o confset.Object, revision int64) *configv1.ObjectStatus {
	epoch := l.epoch()
	return l.status(o, func(p position) bool {
		if p.set == nil || !p.answers(epoch, revision) {
			return false
		}
		_, holds := p.set.Get(o.Key)
		return !holds
	})
}

func (l *Ledger) status(o confset.Object, exempt func(position) bool) *configv1.ObjectStatus {
	key, hash, needs := o.Key, o.Hash, l.cfg.Needs(o)
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &configv1.ObjectStatus{}
	for p, n := range l.positions {
		switch {
		case exempt(p):
		case p.holds(key, hash):
			st.Applied += int32(n)
		case p.level < needs:
			st.Unsupported += int32(n)
		default:
			st.Pending += int32(n)
		}
	}
	var said refusals
	for n, d := range l.verdicts[key] {
		if d.hash != hash || !n.stands(key, d) {
			continue
		}
		st.Applied--
		if d.rejected {
			st.Rejected++
		} else {
			st.Warned++
		}
		said.add(n.name, d)
	}
	st.Refusals = said.list()
	return st
}

// holds says whether an object with that body is in the set.
func (p position) holds(key confset.Key, hash confset.Hash) bool {
	if p.set == nil {
		return false
	}
	o, ok := p.set.Get(key)
	return ok && o.Hash == hash
}

// Delivery says how the connected data planes stand to a change that was committed at a revision and touched the objects. A node that has
// gone past it counts as applied, unless it refuses one of the objects now.
func (l *Ledger) Delivery(revision int64, objects []confset.Key) *adminv1.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delivery(l.epoch(), revision, objects)
}

// delivery is Delivery within an epoch; mu is held.
func (l *Ledger) delivery(epoch string, revision int64, objects []confset.Key) *adminv1.Delivery {
	d := &adminv1.Delivery{Nodes: int32(l.connected)}
	for p, n := range l.positions {
		if p.answers(epoch, revision) {
			d.Applied += int32(n)
		} else {
			d.Pending += int32(n)
		}
	}
	var said refusals
	for n := range l.refusing {
		if n.refuses(epoch, revision) {
			d.Pending--
			d.Rejected++
			said.add(n.name, &verdict{rejected: true, text: n.refused.text, since: n.refused.since})
		}
	}
	rejected := map[*node]struct{}{}
	for _, key := range objects {
		for n, v := range l.verdicts[key] {
			if !n.at.answers(epoch, revision) || !n.stands(key, v) {
				continue
			}
			if v.rejected {
				rejected[n] = struct{}{}
			}
			said.add(n.name, v)
		}
	}
	d.Applied -= int32(len(rejected))
	d.Rejected += int32(len(rejected))
	d.Refusals = said.list()
	return d
}

// refuses says whether the node isn't at the revision because it refused it.
func (n *node) refuses(epoch string, revision int64) bool {
	return !n.at.answers(epoch, revision) && n.refused != nil && n.refused.epoch == epoch && n.refused.revision >= revision
}

// refusals collects one entry per different refusal: the longest standing of each, then the first node by name.
type refusals map[reason]*configv1.Refusal

type reason struct {
	field, text string
	rejected    bool
}

func (r *refusals) add(node string, d *verdict) {
	if *r == nil {
		*r = refusals{}
	}
	key := reason{d.field, d.text, d.rejected}
	if e := (*r)[key]; e != nil && (e.Since.AsTime().Before(d.since) || e.Since.AsTime().Equal(d.since) && e.Node < node) {
		return
	}
	(*r)[key] = &configv1.Refusal{Node: node, Field: d.field, Text: d.text, Rejected: d.rejected, Since: timestamppb.New(d.since)}
}

// list returns the first of them: rejections before warnings, then by age and node.
func (r refusals) list() []*configv1.Refusal {
	var out []*configv1.Refusal
	for _, e := range r {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *configv1.Refusal) int {
		if a.Rejected != b.Rejected {
			if a.Rejected {
				return -1
			}
			return 1
		}
		if c := a.Since.AsTime().Compare(b.Since.AsTime()); c != 0 {
			return c
		}
		return strings.Compare(a.Node+a.Field, b.Node+b.Field)
	})
	return out[:min(len(out), mostRefusals)]
}

// waiter waits until every connected node has answered a revision.
type waiter struct {
	revision int64
	done     chan struct{}
}

// Wait returns once every connected data plane serves the revision or something newer, or has refused it; then it says like Delivery how
// they took the objects. If ctx ends first, the answer is how they stand then, with ctx's error. Without data planes it returns at once.
func (l *Ledger) Wait(ctx context.Context, revision int64, objects ...confset.Key) (*adminv1.Delivery, error) {
	w := &waiter{revision: revision, done: make(chan struct{})}
	l.mu.Lock()
	l.waiters[w] = struct{}{}
	l.wake()
	l.mu.Unlock()
	var err error
	select {
	case <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiters, w)
	return l.delivery(l.epoch(), revision, objects), err
}

// wake ends the waits that are over; mu is held.
func (l *Ledger) wake() {
	if len(l.waiters) == 0 {
		return
	}
	epoch := l.epoch()
	for w := range l.waiters {
		if l.answered(epoch, w.revision) {
			close(w.done)
			delete(l.waiters, w)
		}
	}
}

// answered says whether every connected node has answered a revision; mu is held.
func (l *Ledger) answered(epoch string, revision int64) bool {
	behind := 0
	for p, n := range l.positions {
		if !p.answers(epoch, revision) {
			behind += n
		}
	}
	if behind == 0 || behind > len(l.refusing) {
		return behind == 0
	}
	for n := range l.refusing {
		if n.refuses(epoch, revision) {
			behind--
		}
	}
	return behind == 0
}
