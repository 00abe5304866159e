package view

import (
	"maps"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// levels is the highest feature level that any field of config needs.
const levels = rules.MostLevel

// Scope says which view a data plane gets.
type Scope struct {
	// Region and Group are where it stands. The region selects secrets: those that a server with an endpoint for it needs. Group selects
	// nothing today.
	Region, Group string
	// FeatureLevel is the highest level of config features it understands. Objects that need a higher one are withheld, so that a data plane
	// never serves an object without a restriction it can't read: it loses what it had of it.
	FeatureLevel int32
}

// String returns "region" or "region/group".
func (s Scope) String() string {
	if s.Group == "" {
		return s.Region
	}
	return s.Region + "/" + s.Group
}

// Withholds says whether an object isn't for this scope because it needs a higher feature level. It takes about 100 ns.
func (s Scope) Withholds(o confset.Object) bool {
	return s.FeatureLevel < levels && needs(o) > s.FeatureLevel
}

// Unsupported returns which objects are withheld from a scope for its feature level, at most n of them in canonical order, and how many there
// are. What isn't for the region anyway isn't among them. It costs what differs from a scope of the highest level; nothing before Ready.
func (v *Views) Unsupported(s Scope, n int) (some []confset.Key, all int) {
	whole := s
	whole.FeatureLevel = levels
	has, lacks := v.Current(whole), v.Current(s)
	if s.FeatureLevel >= levels || has == nil || lacks == nil {
		return nil, 0
	}
	for _, o := range confset.Diff(lacks.Set, has.Set).Upserts {
		if !s.Withholds(o) {
			continue // the two views were published one after the other
		}
		if all++; len(some) < n {
			some = append(some, o.Key)
		}
	}
	return some, all
}

// needs returns the feature level a data plane must have to get an object.
func needs(o confset.Object) int32 { return rules.Level(o.Key.Kind, o.Body) }

// tier is the lanes of one region, one per feature level.
type tier [levels + 1]*lane

// lanes are where views are made: scopes that select the same objects share one. There is a tier for each region that an endpoint of a
// server with secrets names, and one for all other regions, so that their number follows the config, not what data planes say of
// themselves. It is immutable.
type lanes struct {
	other   tier
	regions map[string]tier
}

func newTier(region string) (t tier) {
	for level := range t {
		t[level] = &lane{level: int32(level), region: region}
	}
	return t
}

// of returns the lane of a scope.
func (ls *lanes) of(s Scope) *lane {
	t, ok := ls.regions[s.Region]
	if !ok {
		t = ls.other
	}
	return t[min(max(s.FeatureLevel, 0), levels)]
}

// all calls yield for every lane until it returns false, those of other regions first.
func (ls *lanes) all(yield func(*lane) bool) {
	for _, l := range ls.other {
		if !yield(l) {
			return
		}
	}
	for _, t := range ls.regions {
		for _, l := range t {
			if !yield(l) {
				return
			}
		}
	}
}

// grown returns the lanes with those of further regions.
func (ls *lanes) grown(by map[string]tier) *lanes {
	next := &lanes{other: ls.other, regions: maps.Clone(ls.regions)}
	maps.Copy(next.regions, by)
	return next
}

// shrunk returns the lanes without those of regions for which gone is true.
func (ls *lanes) shrunk(gone func(region string) bool) *lanes {
	next := &lanes{other: ls.other, regions: maps.Clone(ls.regions)}
	maps.DeleteFunc(next.regions, func(region string, _ tier) bool { return gone(region) })
	return next
}
