package table

import (
	"maps"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// Apply returns the table after d, standing at revision rev and, for the rest, at what at says. It never fails as a whole: every good
// object is in force, and what stands against the others comes back, ordered by kind and name. Objects that aren't in d are named too
// when d changed what became of them: two API keys with one hash, the first by name is served and the other rejected.
// The receiver stays as it is. Cost: the objects in d; a change of default timeouts adds a copy of every server.
func (t *Table) Apply(d confset.Delta, rev int64, at Version) (*Table, []Outcome) {
	e := newEditor(t)
	for _, key := range d.Removals {
		e.remove(key)
	}
	for i, r := range compileAll(d.Upserts, t.cfg.Region) {
		e.upsert(d.Upserts[i].Key, r)
	}
	e.settle()
	if e.next.settings.Timeouts != t.settings.Timeouts {
		e.remerge()
	}
	next := e.done()
	next.version = at
	next.version.Revision = rev
	return next, e.outcomes(d)
}

// editor is the next table in the making.
type editor struct {
	next       Table
	servers    edit[string, *Server]
	keys       edit[string, *Principal]
	principals edit[[32]byte, *Principal]
	notes      edit[confset.Key, []Outcome]
	ownClaims  bool
	ownRings   bool

	contested map[[32]byte]struct{} // hashes whose claims changed
	noted     []confset.Key         // objects with something to tell
	cleared   []Outcome             // told once: objects served again
}

func newEditor(t *Table) *editor {
	return &editor{
		next:       *t,
		servers:    t.servers.edit(),
		keys:       t.keys.edit(),
		principals: t.principals.edit(),
		notes:      t.notes.edit(),
	}
}

func (e *editor) done() *Table {
	t := e.next
	t.servers, t.keys, t.principals, t.notes = e.servers.done(), e.keys.done(), e.principals.done(), e.notes.done()
	return &t
}

// upsert takes in one compiled object. A rejected key goes; anything else rejected leaves what is there.
func (e *editor) upsert(key confset.Key, r result) {
	e.note(key, r.outs)
	switch {
	case r.server != nil:
		r.server.Timeouts = r.server.own.over(e.next.settings.Timeouts)
		e.servers.set(key.Name, r.server)
	case r.key != nil:
		e.dropKey(key.Name)
		e.putKey(r.key)
	case r.settings != nil:
		e.next.settings = r.settings
	case r.ring != nil:
		e.ringsToChange()[key.Name] = r.ring
	case key.Kind == kindKey:
		e.dropKey(key.Name)
	}
}

func (e *editor) remove(key confset.Key) {
	e.note(key, nil)
	switch key.Kind {
	case kindServer:
		e.servers.del(key.Name)
	case kindKey:
		e.dropKey(key.Name)
	case kindSettings:
		if key.Name == settingsName {
			e.next.settings = builtIn()
		}
	case kindRing:
		delete(e.ringsToChange(), key.Name)
	}
}

// note replaces what stands against an object.
func (e *editor) note(key confset.Key, outs []Outcome) {
	old, _ := e.notes.get(key)
	if len(old) == 0 && len(outs) == 0 {
		return
	}
	e.next.rejected += rejects(outs) - rejects(old)
	if len(outs) == 0 {
		e.notes.del(key)
		return
	}
	e.notes.set(key, outs)
	e.noted = append(e.noted, key)
}

// rejects is 1 when outs, those of one object, reject it.
func rejects(outs []Outcome) int {
	if slices.ContainsFunc(outs, func(o Outcome) bool { return o.Rejected }) {
		return 1
	}
	return 0
}

// remerge gives every server the timeouts of changed settings.
func (e *editor) remerge() {
	defaults := e.next.settings.Timeouts
	for s := range e.servers.values() {
		merged := s.own.over(defaults)
		if merged == s.Timeouts {
			continue
		}
		changed := *s
		changed.Timeouts = merged
		e.servers.set(s.Name, &changed)
	}
}

// outcomes returns what stands against the objects of d and those it affected.
func (e *editor) outcomes(d confset.Delta) []Outcome {
	slices.SortFunc(e.noted, confset.Key.Compare)
	out := e.cleared
	for _, key := range slices.Compact(e.noted) {
		outs, _ := e.notes.get(key)
		out = append(out, outs...)
	}
	slices.SortStableFunc(out, func(a, b Outcome) int { return a.Key.Compare(b.Key) })
	return out
}

func (e *editor) ringsToChange() map[string]*Ring {
	if !e.ownRings {
		e.next.rings, e.ownRings = maps.Clone(e.next.rings), true
		if e.next.rings == nil {
			e.next.rings = map[string]*Ring{}
		}
	}
	return e.next.rings
}
