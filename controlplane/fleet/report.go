package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/view"
)

// Bounds of a report, which fits into 64 KiB.
const (
	mostFindings = 10
	mostMissing  = 50
	mostHashes   = 100
	mostRegions  = 100 // those that the plan doesn't name are counted as rollout.Rest beyond it
	mostReason   = 200 // bytes
)

// Report says how the data planes of this replica stand to an active rollout; Replica is left to the caller. Of those that another replica
// misses it says which are here, at most 50. Data planes count with their region while they are connected. A relay serves the change when those
// behind it do. With another state or nil the report is empty, and what was kept for the last one is forgotten.
//
// It holds the ledger for a fraction of a millisecond at a time. What a step's data planes did within a minute is judged by the clock of who
// admitted it, unless that differs by seconds from when this replica heard of it: then that counts.
func (l *Ledger) Report(s *rollout.State, missedByOthers []rollout.Finding, now time.Time) rollout.Report {
	if s == nil || !s.Active() {
		l.calm()
		return rollout.Report{}
	}
	l.mu.Lock()
	w := &walk{rings: l.rings(s), of: l.roll(s, now), step: int(s.Body.GetStep()), below: belows(s), regions: map[string]*rollout.RegionReport{},
		refused: shortlist{most: mostFindings}, crashed: shortlist{most: mostFindings}, waiting: shortlist{most: mostFindings},
		missing: shortlist{most: mostMissing}, here: shortlist{most: mostMissing}}
	nodes := l.all()
	l.mu.Unlock()
	l.stride(nodes, w.look)
	l.find(missedByOthers, &w.here)
	return w.report()
}

// walk is one look at all nodes.
type walk struct {
	*rings
	of    *rolling
	step  int
	below []uint64 // highest hash by step of a canary; nil: it is none

	regions                                  map[string]*rollout.RegionReport
	refused, crashed, waiting, missing, here shortlist
	hashes                                   []uint64
	with, without                            rollout.Calls
}

// look takes in one node; the ledger's mu is held.
func (w *walk) look(n *node) {
	p := n.partIn(w.of)
	if !n.connected {
		w.lost(n, p)
		return
	}
	r := w.region(n.scope.Region)
	r.Nodes++
	if w.below != nil && !n.relay {
		w.place(r, p.hash)
	}
	if p.step == 0 {
		w.count(&w.without, p)
		return
	}
	r.Admitted++
	w.crash(n, p)
	w.judge(n, p, r)
}

// lost notes a member that went away without saying so.
func (w *walk) lost(n *node, p *part) {
	if p.step > 0 && !n.draining && !n.moved && p.within(n.since) && w.missing.fits(n.name) {
		w.missing.add(rollout.Finding{Node: n.name, Boot: n.boot, At: moment(n.since)})
	}
}

// crash notes a member that crashed since it was admitted.
func (w *walk) crash(n *node, p *part) {
	f := rollout.Finding{Node: n.name, Boot: n.boot}
	switch {
	case n.suspect && p.within(n.suspected):
		f.At, f.Text = n.suspected, "says that it crashed under a config"
	case p.within(n.rebooted):
		f.At, f.Text = n.rebooted, "came back as another process without having said that it stops"
	default:
		return
	}
	if f.At = moment(f.At); w.crashed.fits(n.name) {
		w.crashed.add(f)
	}
}

// judge says how a member took the change.
func (w *walk) judge(n *node, p *part, r *rollout.RegionReport) {
	v := w.view(n)
	switch d := n.refused; {
	case d != nil && d.revision >= p.revision && (v == nil || d.epoch == v.Epoch):
		r.Rejected++
		w.reject(n, d.since, d.text)
		return
	case !w.arrived(n, p, v):
		if w.waiting.fits(n.name) {
			w.waiting.add(rollout.Finding{Node: n.name, Boot: n.boot, At: moment(n.since), Text: fmt.Sprintf("serves revision %d", n.revision),
				Behind: int(n.relayedBehind)})
		}
		return
	}
	w.count(&w.with, p)
	if key, d := n.rejects(w.keys); d != nil {
		r.Rejected++
		w.reject(n, d.since, key.String()+": "+strings.TrimSpace(d.field+" "+d.text))
		return
	}
	r.Applied++
	at := moment(p.served)
	if r.First.IsZero() || at.Before(r.First) {
		r.First = at
	}
	if at.After(r.Last) {
		r.Last = at
	}
}

func (w *walk) reject(n *node, since time.Time, text string) {
	if w.refused.fits(n.name) {
		w.refused.add(rollout.Finding{Node: n.name, Boot: n.boot, At: moment(since), Text: clip(text, mostReason)})
	}
}

// arrived says whether a member serves the change, and notes since when. While the views are behind the rollout it stays as it was.
func (w *walk) arrived(n *node, p *part, v *view.View) bool {
	if v == nil {
		return p.serving
	}
	at := n.arrived
	p.serving = w.serves(n, v)
	if n.relay {
		p.serving = p.serving && n.relayedBehind == 0 && !n.heard.Before(at.Add(settles))
		at = n.heard
	}
	if p.serving && p.served.IsZero() {
		if from := p.of.admitted(p.step); at.Before(from) {
			at = from
		}
		p.served, p.calls = at, rollout.Calls{} // what was called before was called without it
	}
	return p.serving
}

// count adds a node's calls since the step under way was admitted.
func (w *walk) count(to *rollout.Calls, p *part) {
	if p.callsStep == w.step {
		to.Calls += p.calls.Calls
		to.Failed += p.calls.Failed
	}
}

func (w *walk) region(name string) *rollout.RegionReport {
	r := w.regions[name]
	if r == nil && len(w.regions) >= mostRegions && !slices.Contains(w.state.Body.GetPlan().GetSteps(), name) {
		name = rollout.Rest
		r = w.regions[name]
	}
	if r == nil {
		r = &rollout.RegionReport{Region: name}
		if w.below != nil {
			r.Below = make([]int, len(w.below))
		}
		w.regions[name] = r
	}
	return r
}

// place counts a data plane for the steps of a canary that would admit it.
func (w *walk) place(r *rollout.RegionReport, hash uint64) {
	w.hashes = append(w.hashes, hash)
	for i, most := range w.below {
		if hash <= most {
			r.Below[i]++
		}
	}
}

func (w *walk) report() rollout.Report {
	body := w.state.Body
	out := rollout.Report{Change: body.GetChange(), Step: w.step, State: body.GetState(), Refused: w.refused.list, Missing: w.missing.list,
		Crashed: w.crashed.list, Here: w.here.list, Waiting: w.waiting.list, With: w.with, Without: w.without}
	for _, name := range slices.Sorted(maps.Keys(w.regions)) {
		out.Regions = append(out.Regions, *w.regions[name])
	}
	slices.Sort(w.hashes)
	out.Hashes = slices.Clone(w.hashes[:min(len(w.hashes), mostHashes)])
	return out
}

// belows returns the highest hash that each step of a canary admits; nil: it is none.
func belows(s *rollout.State) []uint64 {
	if s.Body.GetPlan().GetStrategy() != rollout.Canary {
		return nil
	}
	out := make([]uint64, len(s.Body.GetSteps()))
	for i := range out {
		out[i] = s.Reach(i + 1)
	}
	return out
}

// moment is a time as it is told: the same one to everybody.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
