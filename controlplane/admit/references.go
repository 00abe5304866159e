package admit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/redact"
)

// namedMost bounds the referrers that a refusal names.
const namedMost = 10

// references finds references to what wouldn't exist: of the objects that come, and of those that stay when something is removed.
func (n *next) references() (out Violations) {
	for i, p := range n.c.Puts {
		for _, r := range n.links[i].Refs {
			if r.To.Kind != links.KindGroup && !n.has(r.To) {
				out = append(out, violation(p, r.Field(), fmt.Sprintf("names the %s %q, which doesn't exist", r.To.Kind, redact.Text(r.To.Name)),
					"create it before, or in the same change"))
			}
		}
	}
	for _, d := range n.c.Deletes {
		key := d.Current.Object.Key
		if in := n.staying(key); len(in) > 0 && !n.has(key) {
			out = append(out, Violation{Key: key, Path: d.Path, Problem: "is in use by " + list(in), Fix: "remove these references before, or in the same change"})
		}
	}
	return out
}

// list names at most ten objects in order, and says how many more there are.
func list(keys []confset.Key) string {
	slices.SortFunc(keys, confset.Key.Compare)
	names := make([]string, 0, namedMost)
	for _, key := range keys[:min(len(keys), namedMost)] {
		names = append(names, fmt.Sprintf("%s %q", key.Kind, key.Name))
	}
	s := strings.Join(names, ", ")
	if more := len(keys) - len(names); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// belong is list with the verb of its number.
func belong(keys []confset.Key) string {
	if len(keys) == 1 {
		return list(keys) + " belongs"
	}
	return list(keys) + " belong"
}
