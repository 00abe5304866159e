package table

import (
	"maps"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// settle decides every contested credential, and with it who is served among all keys that these tie together.
func (e *editor) settle() {
	if len(e.contested) == 0 {
		return
	}
	names, wanted := e.tangle()
	taken := map[credential]string{} // by whom, for people
	for c := range wanted {
		if p, held := e.holder(c); held && e.static(p) {
			taken[c] = "the key of this process (" + p.Name + ")"
		}
	}
	for _, name := range names {
		e.judge(name, taken)
	}
	for c := range wanted {
		if _, ok := taken[c]; !ok {
			e.release(c)
		}
		claims := e.next.claims[c]
		if len(claims) == 0 || len(claims) == 1 && !e.isLost(claims[0]) {
			delete(e.claimsToChange(), c)
		}
	}
}

// tangle returns the keys, in order, whose being served depends on a contested credential, and all that these keys want. Each of those has
// its claims listed from here on.
func (e *editor) tangle() (names []string, wanted map[credential]struct{}) {
	seen := map[string]struct{}{}
	wanted = maps.Clone(e.contested)
	todo := slices.Collect(maps.Keys(wanted))
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, name := range e.next.claims[c] {
			if _, twice := seen[name]; twice {
				continue
			}
			seen[name] = struct{}{}
			k, _ := e.keys.get(name)
			w := k.wants()
			for _, other := range w.of[:w.n] {
				if _, there := wanted[other]; there {
					continue
				}
				wanted[other] = struct{}{}
				todo = append(todo, other)
				if _, listed := e.next.claims[other]; !listed {
					e.claimsToChange()[other] = []string{name}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen)), wanted
}

// judge serves a key if nobody before it has what it wants.
func (e *editor) judge(name string, taken map[credential]string) {
	k, _ := e.keys.get(name)
	w := k.wants()
	n := notes{key: confset.Key{Kind: kindKey, Name: name}}
	for i, c := range w.of[:w.n] {
		if by, ok := taken[c]; ok {
			what := "key"
			if c.name != "" {
				what = "name"
			}
			n.reject(w.fields[i], "is also that of %s, which is served; give each its own %s", by, what)
		}
	}
	if n.rejected {
		e.lostToChange()[name] = struct{}{}
		e.lose(&n)
		return
	}
	for _, c := range w.of[:w.n] {
		taken[c] = "API key " + name
		e.hold(c, k.as(c))
	}
	if e.isLost(name) {
		delete(e.lostToChange(), name)
	}
	e.win(n.key, "is no longer that of another API key; served again")
}

func (e *editor) isLost(name string) bool {
	_, lost := e.next.lost[name]
	return lost
}

// lose notes that an object isn't served because another has what it wants, beside what else stands against it.
func (e *editor) lose(n *notes) {
	e.note(n.key, append(e.withoutLoss(n.key), n.outs...))
}

// win takes back that an object lost to another, and tells.
func (e *editor) win(key confset.Key, text string) {
	old, _ := e.notes.get(key)
	i := slices.IndexFunc(old, func(o Outcome) bool { return o.Rejected })
	if i < 0 {
		return
	}
	field := old[i].Field
	e.note(key, e.withoutLoss(key))
	e.cleared = append(e.cleared, Outcome{Key: key, Field: field, Text: text})
}
