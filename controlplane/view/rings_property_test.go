package view_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
)

// fleetModel is what each region is to have, said in the simplest way.
type fleetModel struct {
	c     *cptest.Control
	mem   *memstore.Store
	heads map[string]string // url by server
	open  []*modelRollout   // oldest first; only the first may be active
	made  int
	down  bool
	seen  []modelPoint
	tape  []int // what is decided next
	wrong []string
}

func tape(seed uint64) (out []int) {
	from := rand.New(rand.NewPCG(seed, 1))
	for range 100 {
		out = append(out, from.IntN(720))
	}
	return out
}

// pick decides for one of n.
func (m *fleetModel) pick(n int) int {
	if len(m.tape) == 0 {
		return 0
	}
	i := m.tape[0] % n
	m.tape = m.tape[1:]
	return i
}

type modelRollout struct {
	*staged
	before map[string]string // by server; empty: it didn't exist
}

type modelPoint struct {
	scope view.Scope
	view  *view.View
}

var modelRegions = []string{"eu", "us", "asia"}

// want is what a region has: heads, but what was before for rollouts that don't admit it.
func (m *fleetModel) want(region string) []string {
	has := maps.Clone(m.heads)
	for _, r := range m.open {
		admitted := r.body.GetState() != rollout.Queued && slices.Contains(modelRegions[:r.body.GetStep()], region)
		for name, url := range r.before {
			if admitted {
				continue
			}
			if delete(has, name); url != "" {
				has[name] = url
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(has)) {
		out = append(out, name+"="+has[name])
	}
	return out
}

func (m *fleetModel) held(name string) bool {
	return slices.ContainsFunc(m.open, func(r *modelRollout) bool { _, ok := r.before[name]; return ok })
}

// edit draws a change of up to three servers that nobody holds.
func (m *fleetModel) edit() (puts []proto.Message, deletes []confset.Key, before map[string]string) {
	before = map[string]string{}
	for range 1 + m.pick(3) {
		name := string(rune('a' + m.pick(6)))
		if _, twice := before[name]; twice || m.held(name) {
			continue
		}
		url, exists := m.heads[name]
		if before[name] = url; exists && m.pick(2) == 0 {
			deletes = append(deletes, confset.Key{Kind: "server", Name: name})
			delete(m.heads, name)
			continue
		}
		m.made++
		m.heads[name] = fmt.Sprint(m.made)
		puts = append(puts, server(name, m.heads[name]))
	}
	return puts, deletes, before
}

func (m *fleetModel) stage(t *testing.T) {
	puts, deletes, before := m.edit()
	if len(before) == 0 {
		return
	}
	m.made++
	state := rollout.Queued
	if len(m.open) == 0 {
		state = rollout.Rolling
	}
	s := stage(t, m.c, fmt.Sprintf("r%06d", m.made), state, rollout.Regions, modelRegions, puts, deletes...)
	m.open = append(m.open, &modelRollout{s, before})
}

func (m *fleetModel) step() {
	if len(m.open) == 0 {
		return
	}
	r := m.open[0]
	switch step := r.body.GetStep(); {
	case m.pick(4) == 0:
		r.undo()
		for name, url := range r.before {
			if delete(m.heads, name); url != "" {
				m.heads[name] = url
			}
		}
	case r.body.GetState() == rollout.Queued:
		r.to(rollout.Rolling, 0)
		return
	case int(step) < len(modelRegions):
		r.to(rollout.Rolling, step+1)
		return
	default:
		r.to(rollout.Done, step)
	}
	m.open = m.open[1:]
}

func (m *fleetModel) check() {
	m.mem.SetUp()
	m.down = false
	quiet()
	for _, region := range modelRegions {
		now := m.c.Views().Current(at(region))
		if got, want := versions(now), m.want(region); !slices.Equal(got, want) {
			m.fail("%s has %q, want %q", region, got, want)
		}
		for _, p := range m.seen {
			if u := now.DeltaAfter(p.view.Epoch, p.view.Revision); p.scope == at(region) && u != nil && lead(p.view.Set, u).Digest() != now.Digest() {
				m.fail("%s isn't led on from revision %d", region, p.view.Revision)
			}
		}
		m.seen = append(m.seen, modelPoint{at(region), now})
	}
	if m.seen = m.seen[max(0, len(m.seen)-15):]; len(m.open) == 0 && m.c.Views().Current(at("eu")) != m.c.Views().Current(at("us")) {
		m.fail("rings that don't differ don't share a view")
	}
}

func (m *fleetModel) fail(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// Whatever is changed, staged, taken further and taken back, and however a replica hears of it: each ring has what it is to have.
func TestEachRingHasWhatTheModelSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &fleetModel{heads: map[string]string{}, tape: tape(rapid.Uint64().Draw(rt, "seed"))}
		synctest.Test(t, func(t *testing.T) {
			m.mem = memstore.New()
			m.c = cptest.New(t, cptest.Config{Store: m.mem})
			for len(m.tape) > 0 {
				m.act(t)
			}
			m.check()
		})
		if len(m.wrong) > 0 {
			rt.Fatalf("%s", m.wrong[0])
		}
	})
}

func (m *fleetModel) act(t *testing.T) {
	switch m.pick(10) {
	case 0, 1:
		if puts, deletes, before := m.edit(); len(before) > 0 {
			m.c.Commit(cptest.Change{Puts: puts, Deletes: deletes})
		}
	case 2, 3:
		m.stage(t)
	case 4, 5, 6:
		m.step()
	case 7:
		m.check()
	case 8:
		m.check()
		out(m.mem)
		m.down = true
	case 9:
		if m.down {
			m.mem.Compact()
		} else {
			m.c.Restart()
			m.seen = nil
		}
	}
}
