package rollout_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// dataplane is one of a model fleet.
type dataplane struct {
	name, region string
	home         int // control plane that it is connected to
	relay        bool
	serves       map[string]time.Time // by change: when it serves it
	crashed      bool
	away         time.Time // by the clock of its control plane; zero: it is connected
}

// fleetOf is n data planes, over regions in turn.
func fleetOf(n, homes int, regions ...string) []*dataplane {
	out := make([]*dataplane, n)
	for i := range out {
		out[i] = &dataplane{name: fmt.Sprintf("dp-%d", i), region: regions[i%len(regions)], home: i % homes, serves: map[string]time.Time{}}
	}
	return out
}

func (d *dataplane) applied(change string, now time.Time) bool {
	at, ok := d.serves[change]
	return ok && !at.After(now)
}

func (d *dataplane) place() rollout.Place {
	return rollout.Place{Node: d.name, Region: d.region, Relay: d.relay}
}

// report counts the data planes of one control plane. Those that were just admitted serve after lag.
func report(s *rollout.State, fleet []*dataplane, home int, now time.Time, lag time.Duration) rollout.Report {
	change := s.Body.GetChange()
	r := rollout.Report{Replica: fmt.Sprint("cp-", home), Change: change, Step: int(s.Body.GetStep()), State: s.Body.GetState()}
	by := map[string]*rollout.RegionReport{}
	var names []string
	for _, d := range fleet {
		if d.home != home {
			continue
		}
		if !d.away.IsZero() {
			r.Missing = append(r.Missing, rollout.Finding{Node: d.name, Boot: "1", At: d.away})
			continue
		}
		g := by[d.region]
		if g == nil {
			g = &rollout.RegionReport{Region: d.region, Below: make([]int, len(s.Body.GetSteps()))}
			by[d.region], names = g, append(names, d.region)
		}
		g.Nodes++
		hash := rollout.Hash(d.name, change)
		if !d.relay {
			r.Hashes = append(r.Hashes, hash)
			for i := range g.Below {
				if hash <= s.Reach(i+1) {
					g.Below[i]++
				}
			}
		}
		if !s.Admits(d.place()) {
			continue
		}
		g.Admitted++
		if _, ok := d.serves[change]; !ok {
			d.serves[change] = now.Add(lag)
		}
		switch at := d.serves[change]; {
		case d.crashed:
			r.Crashed = append(r.Crashed, rollout.Finding{Node: d.name, Boot: "2", At: now, Text: "signal 11"})
		case at.After(now):
			r.Waiting = append(r.Waiting, rollout.Finding{Node: d.name, At: now})
		default:
			g.Applied++
			if g.First.IsZero() || at.Before(g.First) {
				g.First = at
			}
			if at.After(g.Last) {
				g.Last = at
			}
		}
	}
	slices.Sort(names)
	for _, n := range names {
		r.Regions = append(r.Regions, *by[n])
	}
	slices.Sort(r.Hashes)
	r.Hashes = r.Hashes[:min(100, len(r.Hashes))]
	return r
}

func confObject(h store.Head) confset.Object {
	return confset.NewObject(h.Object.Key, h.Object.UID, h.Object.Body)
}

// above is a change id behind another one.
func above(id string) string {
	return ulid.MustNew(ulid.MustParse(id).Time()+1, ulid.DefaultEntropy()).String()
}
