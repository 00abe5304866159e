package rollout_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
)

// largest is a report as large as a ledger of data planes makes it: long names, and texts that take six bytes for each.
func largest() rollout.Report {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	list := func(n int, text string, at time.Time) (out []rollout.Finding) {
		for i := range n {
			out = append(out, rollout.Finding{Node: fmt.Sprintf("%0128d", i), Boot: strings.Repeat("b", 67), At: at, Text: text})
		}
		return out
	}
	ugly := strings.Repeat("<", 203)
	r := rollout.Report{Change: change, Step: 63, State: rollout.Rolling, Refused: list(10, ugly, at), Crashed: list(10, ugly, at), Waiting: list(10, ugly, at),
		Missing: list(50, "", at), Here: list(50, "", time.Time{}), With: rollout.Calls{Calls: 1 << 40}, Without: rollout.Calls{Calls: 1 << 40}}
	for i := range 165 { // those that a plan names, besides 100 others and the rest
		g := rollout.RegionReport{Region: fmt.Sprintf("%063d", i), Nodes: 10_000, Admitted: 10_000, Applied: 10_000, First: at, Last: at}
		for range 64 {
			g.Below = append(g.Below, 10_000)
		}
		r.Regions = append(r.Regions, g)
	}
	for i := range 100 {
		r.Hashes = append(r.Hashes, 1<<63+uint64(i)) //nolint:gosec // few
	}
	return r
}

// However much there is to tell, the others hear who is missing, who was found, and one of each that trips a gate.
func TestTheLargestReportIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		rolls := []*rollout.State{rolling()}
		open := func(name string, report rollout.Report) *rollout.Leader {
			l, err := rollout.NewLeader(rollout.Config{Store: s.Replica(), Rollouts: func() []*rollout.State { return rolls }, Replica: name,
				Moved: func() <-chan struct{} { return nil }, Report: func(time.Time) rollout.Report { return report },
				Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			go l.Run(t.Context()) //nolint:errcheck // ends with the test
			synctest.Wait()
			return l
		}
		large := largest()
		text, _ := json.Marshal(large)
		open("large", large)
		small := open("small", rollout.Report{})
		time.Sleep(20 * time.Second) // of the bubble: until it is sure of its data planes
		got := small.Reports()[0]
		told, _ := json.Marshal(got)
		t.Logf("%d bytes, of which %d are told", len(text), len(told))
		if len(text) <= store.NoteBytes {
			t.Errorf("the largest report has %d bytes: nothing is left out of it", len(text))
		}
		if got.Unsure || len(got.Missing) != 50 || len(got.Here) != 50 || len(got.Regions) != 165 || len(got.Refused) == 0 || len(got.Crashed) == 0 {
			t.Errorf("unsure %v, %d missing, %d here, %d regions, %d refused, %d crashed", got.Unsure, len(got.Missing), len(got.Here), len(got.Regions),
				len(got.Refused), len(got.Crashed))
		}
		if len(small.Missed()) != 50 || len(small.Elsewhere()) != 50 {
			t.Errorf("%d missed, %d elsewhere", len(small.Missed()), len(small.Elsewhere()))
		}
	})
}
