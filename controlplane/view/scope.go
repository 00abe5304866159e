package view

import (
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// levels is the highest feature level that any field of config needs.
const levels = rules.MostLevel

// Scope says which view a data plane gets.
type Scope struct {
	// Region and Group are where it stands. The region selects secrets: those that a server with an endpoint for it needs. The group selects
	// nothing, since overlays are merged by data planes; it is part of what they have in common (Crowd).
	Region, Group string
	// FeatureLevel is the highest level of config features it understands. Objects that need a higher one are withheld, so that a data plane
	// never serves an object without a restriction it can't read: it loses what it had of it.
	FeatureLevel int32
	// Node is the name of the data plane, and Relay says that it stands for a region: while a rollout is active they say whether it is to have
	// the change.
	Node  string
	Relay bool
}

// String returns "region" or "region/group".
func (s Scope) String() string {
	if s.Group == "" {
		return s.Region
	}
	return s.Region + "/" + s.Group
}

// Withholds says whether an object isn't for a scope because it needs a higher feature level. It takes about 100 ns.
func (v *Views) Withholds(s Scope, o confset.Object) bool {
	return s.FeatureLevel < levels && v.Needs(o) > s.FeatureLevel
}

// Unsupported returns which objects are withheld from a scope for its feature level, at most n of them in canonical order, and how many there
// are. What isn't for the region anyway isn't among them. It costs what differs from a scope of the highest level; nothing before Ready.
func (v *Views) Unsupported(s Scope, n int) (some []confset.Key, all int) {
	whole, ls := s, v.lanes.Load()
	whole.FeatureLevel = levels
	has, lacks := ls.view(whole), ls.view(s)
	if s.FeatureLevel >= levels || has == nil || lacks == nil {
		return nil, 0
	}
	for _, o := range confset.Diff(lacks.Set, has.Set).Upserts {
		if !v.Withholds(s, o) {
			continue
		}
		if all++; len(some) < n {
			some = append(some, o.Key)
		}
	}
	return some, all
}

// needs returns the feature level a data plane must have for the content of an object.
func needs(o confset.Object) int32 { return rules.Level(o.Key.Kind, o.Body) }

// tier is the lanes of one region, one per feature level.
type tier [levels + 1]*lane

// lanes are where views are: scopes that select the same objects share one. There is a tier for each region that an endpoint of a server with
// secrets names, and one for all other regions, so that their number follows the config, not what data planes say of themselves. Each has a
// view for the data planes that are to have the change of the active rollout, and one for the others. It is immutable and published as a whole:
// a data plane changes lanes or rings only from one complete view to another.
type lanes struct {
	active  *rollout.State // nil: none
	other   tier
	regions map[string]tier
}

func newTier(region string) (t tier) {
	for level := range t {
		t[level] = &lane{level: int32(level), region: region}
	}
	return t
}

// next makes the lanes of a publication.
func (ls *lanes) next(at *stamp) *lanes {
	n := &lanes{active: at.active, other: ls.other.next(at), regions: make(map[string]tier, len(ls.regions))}
	for region, t := range ls.regions {
		if _, ok := at.sight.closed[region]; !ok {
			n.regions[region] = t.next(at)
		}
	}
	for region, own := range at.sight.fresh {
		n.regions[region] = n.other.branch(region, own)
	}
	return n
}

func (t tier) next(at *stamp) (n tier) {
	for level, l := range t {
		n[level] = l.next(at)
	}
	return n
}

func (t tier) branch(region string, own [rings][]confset.Object) (n tier) {
	for level, l := range t {
		n[level] = l.branch(region, own)
	}
	return n
}

// view returns the view of a scope; nil before the first publication.
func (ls *lanes) view(s Scope) *View {
	t, ok := ls.regions[s.Region]
	if !ok {
		t = ls.other
	}
	return t[clampLevel(s.FeatureLevel)].views[ringOf(ls.active, s)]
}
