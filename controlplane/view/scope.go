package view

import "github.com/hopgate/hopgate/proto/confset"

// levels is the highest feature level that any kind of config needs.
const levels = 1

// Scope says which view a data plane gets.
type Scope struct {
	// Region and Group are where it stands. Today they select nothing: every region gets all objects.
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

// selects says whether the object belongs to the view of a feature level.
func selects(level int32, o confset.Object) bool { return needs(o) <= level }

// lane returns where a scope's views are made: scopes that select the same objects share one.
func (v *Views) lane(s Scope) *lane { return v.lanes[min(max(s.FeatureLevel, 0), levels)] }
