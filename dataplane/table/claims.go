package table

import (
	"maps"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// Two API keys with one SHA-256 would make it a matter of luck who a caller is. So each hash has claims, the names of the keys that want
// it, and the first by name is served. Almost always there is one: then the principals' map says all, and claims has no entry.

// putKey takes in a compiled key whose name isn't in e.keys.
func (e *editor) putKey(p *Principal) {
	e.keys.add(p.Name, p)
	holder, held := e.principals.get(p.Hash)
	if !held {
		e.principals.add(p.Hash, p)
		return
	}
	names, several := e.next.claims[p.Hash]
	if !several && !e.static(holder) { // with several, holder may be one that was dropped before
		names = []string{holder.Name}
	}
	e.contest(p.Hash, append(slices.Clone(names), p.Name))
}

// dropKey takes a key out, if it is there.
func (e *editor) dropKey(name string) {
	p, ok := e.keys.get(name)
	if !ok {
		return
	}
	e.keys.del(name)
	names, several := e.next.claims[p.Hash]
	if !several {
		e.principals.del(p.Hash)
		return
	}
	e.contest(p.Hash, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }))
}

func (e *editor) contest(hash [32]byte, names []string) {
	e.claimsToChange()[hash] = names
	if e.contested == nil {
		e.contested = map[[32]byte]struct{}{}
	}
	e.contested[hash] = struct{}{}
}

// settle decides every contested hash.
func (e *editor) settle() {
	for hash := range e.contested {
		names := e.next.claims[hash]
		slices.Sort(names)
		holder, held := e.principals.get(hash)
		static := held && e.static(holder)
		if len(names) == 0 || len(names) == 1 && !static {
			delete(e.next.claims, hash)
		}
		switch {
		case static:
			e.lose(names, "the key of this process ("+holder.Name+")")
		case len(names) == 0:
			e.principals.del(hash)
		default:
			winner, _ := e.keys.get(names[0])
			e.principals.set(hash, winner)
			e.win(names[0])
			e.lose(names[1:], "API key "+names[0])
		}
	}
}

// lose rejects keys whose hash belongs to another.
func (e *editor) lose(names []string, to string) {
	for _, name := range names {
		key := confset.Key{Kind: kindKey, Name: name}
		n := notes{key: key, outs: e.withoutLoss(key)}
		n.reject(fieldHash, "is also that of %s, which is served; give each its own key", to)
		e.note(key, n.outs)
	}
}

// win takes back that a key lost its hash, and tells.
func (e *editor) win(name string) {
	key := confset.Key{Kind: kindKey, Name: name}
	old, _ := e.notes.get(key)
	if rejects(old) == 0 {
		return
	}
	e.note(key, e.withoutLoss(key))
	e.cleared = append(e.cleared, Outcome{Key: key, Field: fieldHash, Text: "is no longer that of another API key; served again"})
}

// withoutLoss returns what else stands against a key. A key in e.keys was compiled, so its only possible rejection is a lost hash.
func (e *editor) withoutLoss(key confset.Key) []Outcome {
	old, _ := e.notes.get(key)
	return slices.DeleteFunc(slices.Clone(old), func(o Outcome) bool { return o.Rejected })
}

func (e *editor) static(p *Principal) bool { return slices.Contains(e.next.cfg.Static, p) }

func (e *editor) claimsToChange() map[[32]byte][]string {
	if !e.ownClaims {
		e.next.claims, e.ownClaims = maps.Clone(e.next.claims), true
		if e.next.claims == nil {
			e.next.claims = map[[32]byte][]string{}
		}
	}
	return e.next.claims
}
