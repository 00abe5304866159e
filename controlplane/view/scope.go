package view

import (
	"maps"

	"github.com/hopgate/hopgate/proto/confset"
)

// levels is the highest feature level that any kind of config needs.
const levels = 1

// Scope says which view a data plane gets.
type Scope struct {
	// Region and Group are where it stands. The region selects secrets: those that a server with an endpoint for it needs. Group selects
	// nothing today.
	Region, Group string
	// FeatureLevel is the highest level of config features it understands. Objects that need a higher one are withheld, so that a data plane
	// never serves an object without a restriction it can't read.
	FeatureLevel int32
}

// String returns "region" or "region/group".
func (s Scope) String() string {
	if s.Group == "" {
		return s.Region
	}
	return s.Region + "/" + s.Group
}

// needs returns the feature level a data plane must have to get an object. Every kind of today needs level 1.
func needs(confset.Object) int32 { return 1 }

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
