package table

import (
	"maps"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// Two API keys with one SHA-256 or one certificate name would make it a matter of luck who a caller is. So each credential has claims, the
// names of the keys that want it, and the first by name is served. The others are not served at all, and what else they wanted is free for
// those behind them. Almost always there is one claim: then the principals' map says all, and claims has no entry.

// credential is what admits a caller: the SHA-256 of a key, or else a name in a certificate.
type credential struct {
	hash [32]byte
	name string
}

// wants are the credentials of a key, and the fields that hold them.
type wants struct {
	of     [3]credential
	fields [3]string
	n      int
}

func (k *apiKey) wants() (w wants) {
	w.add(credential{hash: k.current.Hash}, fieldHash)
	if k.previous != nil {
		w.add(credential{hash: k.previous.Hash}, fieldPrevious)
	}
	if k.certificate != "" {
		w.add(credential{name: k.certificate}, fieldCertificate)
	}
	return w
}

func (w *wants) add(c credential, field string) {
	w.of[w.n], w.fields[w.n] = c, field
	w.n++
}

// plain reports whether a key wants nothing but its SHA-256.
func (k *apiKey) plain() bool { return k.previous == nil && k.certificate == "" }

// as returns who a key's holder is when he shows c.
func (k *apiKey) as(c credential) *Principal {
	if k.previous != nil && c.name == "" && c.hash == k.previous.Hash {
		return k.previous
	}
	return &k.current
}

// putKey takes in a compiled key whose name isn't in e.keys.
func (e *editor) putKey(k *apiKey) {
	e.keys.add(k.current.Name, k)
	if k.plain() && len(e.next.claims) == 0 {
		if _, held := e.principals.get(k.current.Hash); !held {
			e.principals.add(k.current.Hash, &k.current)
			return
		}
	}
	w := k.wants()
	for i := range w.n {
		e.claim(w.of[i], k)
	}
}

func (e *editor) claim(c credential, k *apiKey) {
	if names, several := e.next.claims[c]; several {
		e.contest(c, append(slices.Clone(names), k.current.Name))
		return
	}
	holder, held := e.holder(c)
	switch {
	case !held && c.name == "":
		e.principals.add(c.hash, k.as(c))
	case !held:
		e.certificatesToChange().add(c.name, &k.current)
	case e.static(holder):
		e.contest(c, []string{k.current.Name})
	default:
		e.contest(c, []string{holder.Name, k.current.Name})
	}
}

// dropKey takes a key out, if it is there.
func (e *editor) dropKey(name string) {
	k, ok := e.keys.get(name)
	if !ok {
		return
	}
	e.keys.del(name)
	if _, lost := e.next.lost[name]; lost {
		delete(e.lostToChange(), name)
	}
	if k.plain() && len(e.next.claims) == 0 {
		e.principals.del(k.current.Hash)
		return
	}
	w := k.wants()
	for i := range w.n {
		if names, several := e.next.claims[w.of[i]]; several {
			e.contest(w.of[i], slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }))
			continue
		}
		e.release(w.of[i])
	}
}

// contest notes who claims a credential; names is ours to sort.
func (e *editor) contest(c credential, names []string) {
	slices.Sort(names)
	e.claimsToChange()[c] = names
	if e.contested == nil {
		e.contested = map[credential]struct{}{}
	}
	e.contested[c] = struct{}{}
}

// holder returns who is served for a credential.
func (e *editor) holder(c credential) (*Principal, bool) {
	if c.name == "" {
		return e.principals.get(c.hash)
	}
	if e.certificates != nil {
		return e.certificates.get(c.name)
	}
	return e.next.certificates.get(c.name)
}

func (e *editor) hold(c credential, p *Principal) {
	if c.name == "" {
		e.principals.set(c.hash, p)
		return
	}
	e.certificatesToChange().set(c.name, p)
}

func (e *editor) release(c credential) {
	if c.name == "" {
		e.principals.del(c.hash)
		return
	}
	e.certificatesToChange().del(c.name)
}

func (e *editor) static(p *Principal) bool { return slices.Contains(e.next.cfg.Static, p) }

func (e *editor) certificatesToChange() *edit[string, *Principal] {
	return begin(&e.certificates, &e.next.certificates)
}

func (e *editor) claimsToChange() map[credential][]string {
	return own(&e.ownClaims, &e.next.claims)
}

func (e *editor) lostToChange() map[string]struct{} { return own(&e.ownLost, &e.next.lost) }

// own makes a map of the next table ours, at its first change.
func own[K comparable, V any](done *bool, m *map[K]V) map[K]V {
	if !*done {
		*m, *done = maps.Clone(*m), true
		if *m == nil {
			*m = map[K]V{}
		}
	}
	return *m
}

// withoutLoss returns what else stands against an object. It was compiled, so its only possible rejection is that it lost to another.
func (e *editor) withoutLoss(key confset.Key) []Outcome {
	old, _ := e.notes.get(key)
	return slices.DeleteFunc(slices.Clone(old), func(o Outcome) bool { return o.Rejected })
}
