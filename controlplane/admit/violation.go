package admit

import (
	"fmt"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// Violation is one thing that is wrong with one object.
type Violation struct {
	Key     confset.Key // zero: the change as a whole
	Path    string      // where the object stands in the request; empty: it is the request
	Field   string      // within the object; empty: the object as a whole
	Problem string
	Fix     string // may be empty
}

// FieldPath returns the path from the request's root, for example objects[2].server.spec.endpoints[0].url.
func (v Violation) FieldPath() string {
	if v.Path == "" || v.Field == "" {
		return v.Path + v.Field
	}
	return v.Path + "." + v.Field
}

// Description returns the problem and, if there is one, the fix.
func (v Violation) Description() string {
	if v.Fix == "" {
		return v.Problem
	}
	return v.Problem + "; " + v.Fix
}

// String names the object, the field, the problem and the fix.
func (v Violation) String() string {
	var b strings.Builder
	if v.Key != (confset.Key{}) {
		fmt.Fprintf(&b, "%s %q: ", v.Key.Kind, rules.Tellable(v.Key.Name))
	}
	if v.Field != "" {
		b.WriteString(v.Field + ": ")
	}
	b.WriteString(v.Description())
	return b.String()
}

// Violations is every one of them, in the order of the request.
type Violations []Violation

// Error renders one violation per line.
func (vs Violations) Error() string {
	lines := make([]string, len(vs))
	for i, v := range vs {
		lines[i] = v.String()
	}
	return strings.Join(lines, "\n")
}

// Owned is one object that belongs to a file, or else to a set.
type Owned struct {
	Key  confset.Key
	Path string // where it stands in the request
	File string // empty: no file owns it
	Set  string
}

// Description says to what it belongs, and where to change it.
func (o Owned) Description() string {
	if o.File != "" {
		return "belongs to the file " + o.File + " and is read-only here; change it in that file"
	}
	return "belongs to the set " + o.Set + "; remove it there before, or apply it with that set"
}

// OwnedError says that a change touches objects which only a file may change, or that belong to another set than it is made for.
type OwnedError struct{ Objects []Owned }

// Error names every object and its file or set.
func (e *OwnedError) Error() string {
	lines := make([]string, len(e.Objects))
	for i, o := range e.Objects {
		lines[i] = fmt.Sprintf("%s %q %s", o.Key.Kind, o.Key.Name, o.Description())
	}
	return strings.Join(lines, "\n")
}
