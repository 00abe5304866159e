package table

import (
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// Apply returns the table after d, standing at revision rev and, for the rest, at what at says. It never fails as a whole: every good
// object is in force, and what stands against the others comes back, ordered by kind and name. Objects that aren't in d are named too
// when d changed what became of them: two API keys with one hash, the first by name is served and the other rejected.
// The receiver stays as it is. Cost: the objects in d, and what the overlays in d change; a change of default timeouts adds a copy of every
// server.
func (t *Table) Apply(d confset.Delta, rev int64, at Version) (*Table, []Outcome) {
	e := newEditor(t)
	for _, key := range d.Removals {
		e.remove(key)
	}
	objs, again := e.overlay(d)
	here := e.site()
	for i, r := range here.compileAll(objs) {
		if i >= again {
			e.recovered(objs[i].Key, r)
		}
		e.upsert(objs[i].Key, r)
		e.answer(here.of(objs[i].Key), r)
	}
	e.settle()
	e.believe()
	e.choose()
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
	keys       edit[string, *apiKey]
	principals edit[[32]byte, *Principal]
	notes      edit[confset.Key, []Outcome]

	// nil until something of them changes
	certificates *edit[string, *Principal]
	teams        *edit[string, *Team]
	toolsets     *edit[string, *Toolset]
	secrets      *edit[string, *Secret]
	bases        *edit[confset.Key, confset.Object]

	// false until something of them changes
	ownClaims, ownLost, ownRings, ownProviders, ownGateways, ownOverlays, ownTargets bool

	moved map[confset.Key]struct{} // objects whose overlays changed; nil: none

	regrouped changes // of access groups
	renamed   changes // of the servers that rename tools

	contested map[credential]struct{} // credentials whose claims changed
	noted     []confset.Key           // objects with something to tell
	cleared   []Outcome               // told once: objects served again
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
	e.gather()
	t := e.next
	t.servers, t.keys, t.principals, t.notes = e.servers.done(), e.keys.done(), e.principals.done(), e.notes.done()
	finish(e.certificates, &t.certificates)
	finish(e.teams, &t.teams)
	finish(e.toolsets, &t.toolsets)
	finish(e.secrets, &t.secrets)
	finish(e.bases, &t.bases)
	return &t
}

// begin returns the edit of a map that seldom changes, making it at its first change.
func begin[K comparable, V any](e **edit[K, V], from *shards[K, V]) *edit[K, V] {
	if *e == nil {
		made := from.edit()
		*e = &made
	}
	return *e
}

func finish[K comparable, V any](e *edit[K, V], to *shards[K, V]) {
	if e != nil {
		*to = e.done()
	}
}

// upsert takes in one compiled object. What is rejected fails closed, but for servers, settings and rings: these stay what they are.
func (e *editor) upsert(key confset.Key, r result) {
	e.note(key, r.outs)
	switch v := r.value.(type) {
	case *Server:
		v.Timeouts = v.own.over(e.next.settings.Timeouts)
		e.setServer(v)
	case *apiKey:
		e.dropKey(key.Name)
		e.putKey(v)
	case *Settings:
		e.next.settings = v
	case *Ring:
		e.ringsToChange()[key.Name] = v
	case *Team:
		begin(&e.teams, &e.next.teams).set(key.Name, v)
	case *Toolset:
		begin(&e.toolsets, &e.next.toolsets).set(key.Name, v)
	case *Secret:
		begin(&e.secrets, &e.next.secrets).set(key.Name, v)
	case *IdentityProvider:
		e.putProvider(v)
	case *gateway:
		e.putGateway(key.Name, v)
	case nil:
		e.drop(key)
	}
}

func (e *editor) remove(key confset.Key) {
	e.note(key, nil)
	e.forget(key)
	switch key.Kind {
	case kindServer:
		e.dropServer(key.Name)
	case kindSettings:
		if key.Name == settingsName {
			e.next.settings = builtIn()
		}
	case kindRing:
		delete(e.ringsToChange(), key.Name)
	case kindIngress:
		e.dropGateway(key.Name)
	default:
		e.drop(key)
	}
}

// drop takes out an object of a kind that fails closed.
func (e *editor) drop(key confset.Key) {
	switch key.Kind {
	case kindKey:
		e.dropKey(key.Name)
	case kindTeam:
		begin(&e.teams, &e.next.teams).del(key.Name)
	case kindToolset:
		begin(&e.toolsets, &e.next.toolsets).del(key.Name)
	case kindSecret:
		begin(&e.secrets, &e.next.secrets).del(key.Name)
	case kindProvider:
		e.dropProvider(key.Name)
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
		timeouts := s.own.over(defaults)
		if timeouts == s.Timeouts {
			continue
		}
		changed := *s
		changed.Timeouts = timeouts
		e.setServer(&changed)
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

func (e *editor) ringsToChange() map[string]*Ring { return own(&e.ownRings, &e.next.rings) }
