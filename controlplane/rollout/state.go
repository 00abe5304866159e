// Package rollout takes a change to the fleet in steps and takes it back when a step goes wrong.
//
// A staged change is committed like any other; beside it stands one object of kind Kind, named by the change, which says what was there before
// and which data planes have the change by now. Everybody derives the rest from it: views give the others what was before.
//
// It promises that a step is admitted only while every data plane that was admitted before serves the change, that a gate which trips leads
// to one commit that undoes the change everywhere, and that whoever leads can die at any moment: the next one goes on from what is stored. It
// refuses to act on what it doesn't know: without a report of each control plane nothing is admitted.
package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Kind of the stored objects. They never leave the control plane.
const Kind = "rollout"

// States of a rollout.
const (
	Queued   = "queued"
	Rolling  = "rolling"
	Paused   = "paused"
	Aborting = "aborting"
	Done     = "done"
	Reverted = "reverted"
	Aborted  = "aborted"
)

// Strategies of a plan.
const (
	Immediate = "immediate"
	Canary    = "canary"
	Regions   = "regions"
)

// Rest names the step of all regions that a plan doesn't name.
const Rest = "rest"

// State is a stored rollout. It is immutable.
type State struct {
	// Body is what is stored; never written to.
	Body *adminv1.Rollout
	// Revision of the store it was written at; 0 when unknown.
	Revision int64

	steps []string // of the plan, with defaults
}

// Parse reads a stored body.
func Parse(body []byte, revision int64) (*State, error) {
	m := &adminv1.Rollout{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	return Of(m, revision), nil
}

// Of makes a state of a body, which mustn't be written to afterwards.
func Of(m *adminv1.Rollout, revision int64) *State {
	s := &State{Body: m, Revision: revision}
	for _, step := range m.GetSteps() {
		s.steps = append(s.steps, step.GetName())
	}
	return s
}

// Open says whether some data planes are still to have what was before: queued, rolling, paused and aborting.
func (s *State) Open() bool {
	switch s.Body.GetState() {
	case Queued, Rolling, Paused, Aborting:
		return true
	}
	return false
}

// Active says whether it is the one rollout that admits data planes. One that is aborted while it waits for another never was.
func (s *State) Active() bool {
	switch s.Body.GetState() {
	case Rolling, Paused:
		return true
	case Aborting:
		return s.Body.GetStep() > 0
	}
	return false
}

// Place is where a data plane stands.
type Place struct {
	Node, Region string
	// Relay: it stands for a region, and is admitted by the last step of a canary.
	Relay bool
}

// Admits says whether a data plane is to have the change. It takes under a microsecond.
func (s *State) Admits(p Place) bool {
	at := s.StepOf(p)
	return at > 0 && at <= int(s.Body.GetStep())
}

// StepOf returns the step that admits a data plane, from 1. For a canary it is that of a step already admitted, or one after the last.
func (s *State) StepOf(p Place) int {
	last := len(s.steps)
	if s.Body.GetPlan().GetStrategy() == Regions {
		at := slices.Index(s.steps, p.Region)
		if at < 0 {
			at = slices.Index(s.steps, Rest)
		}
		if at < 0 {
			at = last - 1
		}
		return at + 1
	}
	if int(s.Body.GetStep()) == last && last > 0 {
		return last
	}
	if !p.Relay && s.Body.GetStep() > 0 && Hash(p.Node, s.Body.GetChange()) <= s.Body.GetThreshold() {
		return int(s.Body.GetStep())
	}
	return last + 1
}

// Reach is the highest hash that a canary admits once a step, from 1, was admitted: what RegionReport.Below is counted by. For a step that is a
// number of data planes it is known once that step was admitted, and 0 before; it never is less than what is admitted now.
func (s *State) Reach(step int) uint64 {
	if step >= len(s.steps) {
		return math.MaxUint64
	}
	if step < 1 {
		return 0
	}
	share, ok := percent(s.steps[step-1])
	if !ok {
		return s.Body.GetThreshold()
	}
	return max(s.Body.GetThreshold(), uint64(share*math.Ldexp(1, 64)))
}

// Hash places a data plane in a canary: the lowest come first. It is even over all values.
func Hash(node, change string) uint64 {
	sum := sha256.Sum256([]byte(change + "\x00" + node))
	return binary.BigEndian.Uint64(sum[:])
}

// Keys are the objects of the change, in canonical order.
func (s *State) Keys() []confset.Key {
	out := make([]confset.Key, 0, len(s.Body.GetObjects()))
	for _, o := range s.Body.GetObjects() {
		out = append(out, confset.Key{Kind: o.GetKind(), Name: o.GetName()})
	}
	slices.SortFunc(out, confset.Key.Compare)
	return out
}

// Report is what one control plane tells of its data planes with regard to the active rollout. It is JSON between control planes.
type Report struct {
	Replica string `json:"replica"`
	// Change, Step and State of the rollout that it is about, as this control plane knows it.
	Change string `json:"change"`
	Step   int    `json:"step"`
	State  string `json:"state"`
	// Unsure: it can't see all its data planes yet. The Leader sets it.
	Unsure bool `json:"unsure,omitempty"`
	// Regions by name.
	Regions []RegionReport `json:"regions,omitempty"`
	// Refused are data planes with the change that refused something in it, at most ten.
	Refused []Finding `json:"refused,omitempty"`
	// Missing are data planes with the change that went away without saying so, within a minute after they were admitted, at most 50. At is when.
	Missing []Finding `json:"missing,omitempty"`
	// Crashed are those that came back as another process, or say that they crashed, at most ten.
	Crashed []Finding `json:"crashed,omitempty"`
	// Here are those that another control plane misses and that are connected to this one.
	Here []Finding `json:"here,omitempty"`
	// Waiting are data planes with the change that don't serve it yet, at most ten.
	Waiting []Finding `json:"waiting,omitempty"`
	// Hashes are the lowest 100 among the data planes that a canary could begin with, which relays aren't, whether they have the change or not.
	Hashes []uint64 `json:"hashes,omitempty"`
	// With and Without count calls to the changed servers since the step was admitted, on data planes with and without the change.
	With    Calls `json:"with"`
	Without Calls `json:"without"`
}

// RegionReport counts the data planes of one region that are connected to one control plane.
type RegionReport struct {
	Region   string    `json:"region"`
	Nodes    int       `json:"nodes"`
	Admitted int       `json:"admitted"`
	Applied  int       `json:"applied"`
	Rejected int       `json:"rejected"`
	First    time.Time `json:"first,omitzero"` // when the first of them served the change
	Last     time.Time `json:"last,omitzero"`  // when the last did
	// Below counts by step of a canary, its first at 0, how many have a hash of at most State.Reach of it, other than relays: those that earlier
	// steps admit are in it. The number of a step by count isn't looked at.
	Below []int `json:"below,omitempty"`
}

// Finding is something about one data plane.
type Finding struct {
	Node string    `json:"node"`
	Boot string    `json:"boot,omitempty"` // of its process
	At   time.Time `json:"at,omitzero"`
	Text string    `json:"text,omitempty"`
	// Behind counts, of a relay that is waited for, the data planes behind it that aren't where it is.
	Behind int `json:"behind,omitempty"`
}

// Calls to servers.
type Calls struct {
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
}
