package fleet

import "github.com/hopgate/hopgate/controlplane/rollout"

// find says which of the missed nodes are connected here.
func (l *Ledger) find(missed []rollout.Finding, here *shortlist) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range missed[:min(len(missed), mostMissing*mostFindings)] {
		if n := l.nodes[f.Node]; n != nil && n.connected && here.fits(n.name) {
			here.add(rollout.Finding{Node: n.name, Boot: n.boot})
		}
	}
}

// Moved takes in which data planes are connected to other replicas: of these, none that still is the same process is missing here any more, so
// that those which really are have room in a report.
func (l *Ledger) Moved(elsewhere []rollout.Finding) {
	if len(elsewhere) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range elsewhere {
		if n := l.nodes[f.Node]; n != nil && !n.connected && (n.boot == f.Boot || n.boot == "" || f.Boot == "") {
			n.moved = true
		}
	}
}
