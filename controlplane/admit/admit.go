// Package admit decides whether a change may be stored: it looks at all objects of the change together with the set they would join.
//
// It promises that everything it lets through satisfies proto/rules, fits the store's limits, claims no name, key, issuer or region twice,
// refers to nothing that doesn't exist, leaves no reference to what it removes, touches no object that another file owns, takes none out of
// another set, and compiles on a data plane, wherever one with overlays stands; and that a refusal names every offending object and field at
// once.
// It refuses by value only: it reads no clock, no store and no socket, and it never changes what it was given.
//
// References are secrets of servers and of overlays, what an overlay changes, teams of keys and claim grants, and toolsets in grants: without
// them the object would open less than it says, or fail at the first call. Servers and access groups in grants and servers in toolsets are
// names, not references: they may not exist yet, and deleting a server leaves them alone. Otherwise keys and servers could only be rolled out
// in one order.
//
// What is stored may lag behind by moments, so two changes at the same time on two replicas can both pass where one after the other couldn't.
// Data planes take such a set as it is: what is missing opens nothing.
package admit

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// Problem is one reason why a data plane would refuse an object.
type Problem struct {
	Field string // path, for example spec.endpoints[0].url; may be empty
	Text  string // one sentence, without secrets
}

// Put is one object that the change creates or replaces.
type Put struct {
	Object  confset.Object
	Message proto.Message    // what the caller wants stored; a secret with its value
	Pushed  *confset.Object  // what a data plane would get; nil: Object
	Found   rules.Violations // what is known to be wrong with it already
	Current *store.Head      // what is stored now; nil: nothing
	Path    string           // where the object stands in the request, for example objects[2].server; empty: it is the request
}

// Delete is one object that the change removes.
type Delete struct {
	Current store.Head
	Path    string // where its name stands in the request, for example deletions[0]; empty: it is the request
}

// Change is everything that happens together.
type Change struct {
	Owner   string // file in whose name the change is made; empty: none
	Set     string // set that the puts join; empty: they stay in the set they are in
	Puts    []Put
	Deletes []Delete
}

// Set is the stored config that the change would join. It may lag behind the store by moments.
type Set interface {
	// Has says whether an object is stored.
	Has(key confset.Key) bool
	// Holder returns the name of the object that claims something for itself.
	Holder(claim links.Claim) (name string, ok bool)
	// Referrers returns the objects that refer to one, or to an access group, in any order; the caller may keep them.
	Referrers(to confset.Key) []confset.Key
	// Get returns an object as it is stored.
	Get(kind, name string) (store.Head, bool)
}

// Config of a Gate.
type Config struct {
	// Set is required.
	Set Set
	// Limits of one commit; zero values don't limit.
	Limits store.Limits
	// Compile is the data plane's own compile function: no problems means that it would serve the object. Nil: not asked.
	Compile func(confset.Object) []Problem
	// Namespaces lists kinds whose names must differ from one another, and from access groups; default: servers and toolsets.
	Namespaces [][]string
}

// Gate checks changes. It is safe for concurrent use.
type Gate struct{ cfg Config }

// New checks the config and fills its defaults.
func New(cfg Config) (*Gate, error) {
	if cfg.Set == nil {
		return nil, errors.New("admit: config: Set is required")
	}
	if cfg.Namespaces == nil {
		cfg.Namespaces = [][]string{{kindServer, links.KindToolset}}
	}
	return &Gate{cfg: cfg}, nil
}

// Check returns nil, *OwnedError when the change touches what a file or another set owns, or Violations with everything else that is wrong.
// Ownership comes first: who may not write an object has nothing to mend in it.
func (g *Gate) Check(c Change) error {
	if err := checkOwner(c); err != nil {
		return err
	}
	if out := g.limits(c); len(out) > 0 {
		return out // the rest may be long
	}
	out := twice(c)
	for _, p := range c.Puts {
		out = append(out, g.object(p)...)
	}
	n := g.next(c)
	out = append(out, n.names()...)
	out = append(out, n.claims()...)
	out = append(out, n.references()...)
	out = append(out, n.overlays(out)...)
	if len(out) > 0 {
		return out
	}
	return nil
}
