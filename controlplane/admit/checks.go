package admit

import (
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// checkOwner finds objects that only others may change: a file, or another set. A change for no set and no file may touch a set's objects.
func checkOwner(c Change) error {
	var owned []Owned
	see := func(current *store.Head, path string) {
		switch key := current.Object.Key; {
		case current.Owner != "" && current.Owner != c.Owner:
			owned = append(owned, Owned{Key: key, Path: path, File: current.Owner})
		case current.Set != "" && current.Set != c.Set && (c.Set != "" || c.Owner != ""):
			owned = append(owned, Owned{Key: key, Path: path, Set: current.Set})
		}
	}
	for _, p := range c.Puts {
		if p.Current != nil {
			see(p.Current, p.Path)
		}
	}
	for i := range c.Deletes {
		see(&c.Deletes[i].Current, c.Deletes[i].Path)
	}
	if len(owned) > 0 {
		return &OwnedError{Objects: owned}
	}
	return nil
}

// limits are the store's, told before anything is written.
func (g *Gate) limits(c Change) (out Violations) {
	if n, most := len(c.Puts)+len(c.Deletes), g.cfg.Limits.Objects; most > 0 && n > most {
		over := &store.LimitError{What: "objects in a change", Asked: n, Limit: most, Flag: g.cfg.Limits.Flag}
		out = append(out, Violation{Problem: over.Error(), Fix: "split the change"})
	}
	for _, p := range c.Puts {
		if n, most := len(p.Object.Body), g.cfg.Limits.Bytes; most > 0 && n > most {
			over := &store.LimitError{What: "bytes in an object", Asked: n, Limit: most}
			out = append(out, violation(p, "", over.Error(), "make it smaller"))
		}
	}
	return out
}

// twice finds keys that appear more than once in a change; what would win is nobody's guess.
func twice(c Change) (out Violations) {
	first := make(map[confset.Key]string, len(c.Puts)+len(c.Deletes))
	see := func(key confset.Key, path string) {
		if earlier, ok := first[key]; ok {
			out = append(out, Violation{Key: key, Path: path, Problem: "is already in this change at " + earlier, Fix: "name each object once"})
			return
		}
		first[key] = path
	}
	for _, p := range c.Puts {
		see(p.Object.Key, p.Path)
	}
	for _, d := range c.Deletes {
		see(d.Current.Object.Key, d.Path)
	}
	return out
}

// object checks one object by itself; what doesn't satisfy the rules isn't compiled.
func (g *Gate) object(p Put) (out Violations) {
	for _, v := range slices.Concat(p.Found, rules.Check(p.Object.Key.Kind, p.Message)) {
		out = append(out, violation(p, v.Field, v.Problem, v.Fix))
	}
	if len(out) > 0 || g.cfg.Compile == nil {
		return out
	}
	pushed := p.Object
	if p.Pushed != nil {
		pushed = *p.Pushed
	}
	for _, bad := range g.cfg.Compile(pushed) {
		out = append(out, violation(p, bad.Field, bad.Text, ""))
	}
	return out
}

func violation(p Put, field, problem, fix string) Violation {
	return Violation{Key: p.Object.Key, Path: p.Path, Field: field, Problem: problem, Fix: fix}
}
