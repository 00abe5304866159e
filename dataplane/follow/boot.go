package follow

import (
	"fmt"
	"slices"
	"time"

	"github.com/hopgate/hopgate/dataplane/follow/lastgood"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// BootReport says what a process starts with.
type BootReport struct {
	// Loaded: there was a config on disk; it is in force. Else the process serves nothing until a control plane answers.
	Loaded bool
	// Version and number of objects of it.
	Version table.Version
	Objects int
	// Outcomes of objects that this version doesn't serve as they are.
	Outcomes []table.Outcome
	// Suspect is the config that is held off, nil when there is none. TryAgain is when it may come back; zero: only when it changes.
	Suspect  *lastgood.Suspect
	TryAgain time.Time
	// Problems say what was wrong on disk and what was done about it.
	Problems []string
	// Took is how long it took.
	Took time.Duration
}

// Boot puts the last good config from disk in force and applies the crash rule. It fails only when the state directory can't be used.
// It is called once, before Run; whoever doesn't come to Run calls Close.
func (f *Follower) Boot() (BootReport, error) {
	start := time.Now()
	store, state, err := lastgood.Open(f.cfg.Dir)
	if err != nil {
		return BootReport{}, fmt.Errorf("follow: %w", err)
	}
	f.store, f.set = store, state.Set
	rep := BootReport{
		Loaded:   state.Version != (table.Version{}),
		Version:  state.Version,
		Objects:  state.Set.Len(),
		Suspect:  state.Suspect,
		Problems: state.Problems,
	}
	if rep.Loaded {
		t, outs := f.cfg.Table.Load().Apply(confset.Delta{Upserts: slices.AppendSeq(make([]confset.Object, 0, rep.Objects), state.Set.Unordered())}, state.Version.Revision, state.Version)
		f.cfg.Table.Store(t)
		rep.Outcomes = outs
	}
	if state.Suspect != nil {
		f.retryAt = f.tryAgain(start, state.Suspect.Tries, rep.Loaded)
		rep.TryAgain = f.retryAt
	}
	f.note(func(s *Status) { s.Loaded, s.Since = rep.Loaded, start })
	rep.Took = time.Since(start)
	f.logBoot(rep)
	return rep, nil
}

// tryAgain says when a suspect that was tried again so often may come back; zero: not by itself. A node that has nothing else to serve
// has nothing to lose by trying at once, and waits from the second time on.
func (f *Follower) tryAgain(start time.Time, tries int, loaded bool) time.Time {
	waits := f.cfg.RetrySuspect
	switch {
	case tries >= len(waits):
		return time.Time{}
	case loaded:
		return start.Add(waits[tries])
	case tries == 0:
		return start
	}
	return start.Add(waits[tries-1])
}

// Close frees the state directory when Run is not to be called after Boot. It leaves no clean mark.
func (f *Follower) Close() error {
	if f.store == nil {
		return nil
	}
	return f.store.Close()
}

func (f *Follower) logBoot(rep BootReport) {
	for _, p := range rep.Problems {
		f.cfg.Log.Warn("last good config: " + p)
	}
	if rep.Loaded {
		f.cfg.Log.Info("config loaded from disk", "revision", rep.Version.Revision, "objects", rep.Objects, "rejected", f.cfg.Table.Load().Rejected(), "took", rep.Took)
	}
	if rep.Suspect != nil {
		f.cfg.Log.Error("the process ended without a clean stop under a config that was not yet good; it is held off",
			"revision", rep.Suspect.Version.Revision, "tries", rep.Suspect.Tries, "try_again", rep.TryAgain)
	}
}
