package admit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func checkOwner(c Change) error {
	var owned []Owned
	for _, p := range c.Puts {
		if p.Current != nil && p.Current.Owner != "" && p.Current.Owner != c.Owner {
			owned = append(owned, Owned{Key: p.Object.Key, Path: p.Path, File: p.Current.Owner})
		}
	}
	for _, d := range c.Deletes {
		if d.Current.Owner != "" && d.Current.Owner != c.Owner {
			owned = append(owned, Owned{Key: d.Current.Object.Key, Path: d.Path, File: d.Current.Owner})
		}
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
	for _, v := range rules.Check(p.Object.Key.Kind, p.Message) {
		out = append(out, violation(p, v.Field, v.Problem, v.Fix))
	}
	if len(out) > 0 || g.cfg.Compile == nil {
		return out
	}
	for _, bad := range g.cfg.Compile(p.Object) {
		out = append(out, violation(p, bad.Field, bad.Text, ""))
	}
	return out
}

// names finds objects whose name another kind of the same namespace holds, stored or in this change.
func (g *Gate) names(c Change) (out Violations) {
	coming := make(map[confset.Key]bool, len(c.Puts))
	leaving := make(map[confset.Key]bool, len(c.Deletes))
	for _, d := range c.Deletes {
		leaving[d.Current.Object.Key] = true
	}
	for _, p := range c.Puts {
		for _, other := range g.rivals(p.Object.Key.Kind) {
			rival := confset.Key{Kind: other, Name: p.Object.Key.Name}
			if coming[rival] || g.cfg.Set.Has(rival) && !leaving[rival] {
				out = append(out, violation(p, "name", fmt.Sprintf("is taken by the %s of that name", other), "choose another name"))
			}
		}
		coming[p.Object.Key] = true
	}
	return out
}

// rivals are the other kinds of a kind's namespace.
func (g *Gate) rivals(kind string) (out []string) {
	for _, space := range g.cfg.Namespaces {
		if slices.Contains(space, kind) {
			for _, k := range space {
				if k != kind {
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// keys finds API keys whose hash another one holds: a caller must be one principal.
func (g *Gate) keys(c Change) (out Violations) {
	moved := make(map[string]bool, len(c.Puts)+len(c.Deletes)) // names whose stored hash is about to change or go
	for _, d := range c.Deletes {
		if k := d.Current.Object.Key; k.Kind == "apikey" {
			moved[k.Name] = true
		}
	}
	holders := map[[32]byte]string{} // hashes after the change
	for _, p := range c.Puts {
		if p.Object.Key.Kind == "apikey" {
			moved[p.Object.Key.Name] = true
		}
	}
	for _, p := range c.Puts {
		k, ok := p.Message.(*configv1.ApiKey)
		sum, err := decodeSum(k.GetSpec().GetSha256())
		if !ok || err != nil {
			continue // rules said so
		}
		holder, taken := holders[sum]
		if !taken {
			holder, taken = g.cfg.Set.KeyHolder(sum)
			taken = taken && !moved[holder]
		}
		if taken && holder != p.Object.Key.Name {
			out = append(out, violation(p, "spec.sha256", fmt.Sprintf("is the hash of the API key %q already", holder), "make a new key"))
			continue
		}
		holders[sum] = p.Object.Key.Name
	}
	return out
}

func decodeSum(s string) (sum [32]byte, err error) {
	if len(s) != 2*len(sum) {
		return sum, errors.New("not 64 digits")
	}
	_, err = hex.Decode(sum[:], []byte(s))
	return sum, err
}

func violation(p Put, field, problem, fix string) Violation {
	return Violation{Key: p.Object.Key, Path: p.Path, Field: field, Problem: problem, Fix: fix}
}
