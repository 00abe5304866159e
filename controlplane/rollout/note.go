package rollout

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// meet keeps our note among those of the others.
func (l *Leader) meet(ctx context.Context) {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	last, pause := "", least
	for {
		began := l.c.Now()
		err := l.c.Store.Meet(ctx, store.Meeting{Name: l.c.Replica, Note: l.note, Turned: l.turned, Heard: l.hear})
		l.hear(nil)
		if ctx.Err() != nil {
			return
		}
		l.doubt()
		if err != nil && err.Error() != last {
			last = err.Error()
			l.c.Log.WarnContext(ctx, "control planes can't meet", "error", err)
		}
		if l.c.Now().Sub(began) > most {
			pause = least
		}
		t := time.NewTimer(pause + rand.N(pause))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		pause = min(2*pause, most)
	}
}

// hear takes in all notes. When one is gone, its data planes may be on their way to us.
func (l *Leader) hear(notes []store.Note) {
	heard := make([]note, 0, len(notes))
	for _, n := range notes {
		h := note{own: n.Own, fence: n.Fence}
		if err := json.Unmarshal(n.Text, &h.report); err != nil || h.report.Replica == "" {
			h.report = Report{Replica: n.Name}
		}
		heard = append(heard, h)
	}
	l.mu.Lock()
	for i := range heard {
		if at := slices.IndexFunc(l.notes, func(was note) bool { return was.fence == heard[i].fence }); at >= 0 {
			heard[i].since = l.notes[at].since
		}
		heard[i].restamp(l.c.Now())
	}
	for _, was := range l.notes {
		if !was.own && !slices.ContainsFunc(heard, func(h note) bool { return h.fence == was.fence }) {
			l.unsure = l.c.Now().Add(UnsureFor)
		}
	}
	l.notes = heard
	l.mu.Unlock()
	select {
	case l.heard <- struct{}{}:
	default:
	}
}

// doubt says that data planes may be on their way back to us.
func (l *Leader) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure = l.c.Now().Add(UnsureFor)
}

// Leads says whether this control plane takes rollouts on, as far as it knows.
func (l *Leader) Leads() bool {
	_, leads := l.leads()
	return leads
}

// leads says whether our note is the first, and what proves it.
func (l *Leader) leads() (store.Fence, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notes) == 0 || !l.notes[0].own {
		return store.Fence{}, false
	}
	return l.notes[0].fence, true
}

func (l *Leader) note() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

// say tells the others what changed, unless it did so a moment ago.
func (l *Leader) say(now time.Time) {
	if now.Sub(l.lastSaid) < SayEvery {
		return
	}
	l.lastSaid = now
	r := l.c.Report(now)
	r.Replica = l.c.Replica
	l.tell(r, now)
}

// rest takes back what was said: no rollout is active.
func (l *Leader) rest() {
	l.lastSaid = time.Time{}
	l.tell(Report{Replica: l.c.Replica}, l.c.Now())
}

func (l *Leader) tell(r Report, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Unsure = r.Change != "" && now.Before(l.unsure)
	text := fit(r)
	if string(text) == string(l.said) {
		return
	}
	l.own.report, l.said = r, text
	l.own.restamp(now)
	select {
	case l.turned <- struct{}{}:
	default:
	}
}

// fit returns a report as JSON that a note can hold. What only saves time goes first, then all but one of the findings that each trip a gate; who
// is missing and who was found stays. One that still is too long tells nothing, and so nobody more is admitted.
func fit(r Report) []byte {
	text, err := json.Marshal(r)
	if err == nil && len(text) <= store.NoteBytes {
		return text
	}
	r.Regions = slices.Clone(r.Regions)
	for i := range r.Regions {
		r.Regions[i].Below = nil
	}
	if text, err = json.Marshal(r); err == nil && len(text) <= store.NoteBytes {
		return text
	}
	r.Refused, r.Crashed, r.Waiting = first(r.Refused), first(r.Crashed), first(r.Waiting)
	if text, err = json.Marshal(r); err == nil && len(text) <= store.NoteBytes {
		return text
	}
	text, _ = json.Marshal(Report{Replica: r.Replica, Change: r.Change, Step: r.Step, State: r.State, Unsure: true, Refused: r.Refused, Crashed: r.Crashed})
	if len(text) > store.NoteBytes {
		text, _ = json.Marshal(Report{Replica: r.Replica})
	}
	return text
}

func first(list []Finding) []Finding { return list[:min(len(list), 1)] }

// Reports returns the newest report of every control plane, our own included, oldest control plane first. Nobody may write to them.
func (l *Leader) Reports() []Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, mine := make([]Report, 0, len(l.notes)+1), false
	for _, n := range l.notes {
		if n.own {
			n.report, mine = l.mine(), true
		}
		out = append(out, n.report)
	}
	if !mine {
		out = append(out, l.mine())
	}
	return out
}

// mine is our newest report, with what came to our mind since; mu is held.
func (l *Leader) mine() Report {
	r := l.own.report
	r.Unsure = r.Unsure || r.Change != "" && l.c.Now().Before(l.unsure)
	return r
}

// Missed are the data planes that other control planes miss: what Config.Report looks for among its own.
func (l *Leader) Missed() []Finding {
	return l.others(func(r *Report) []Finding { return r.Missing })
}

// Elsewhere are the data planes that some control plane missed and that are connected to another one than ours.
func (l *Leader) Elsewhere() []Finding {
	return l.others(func(r *Report) []Finding { return r.Here })
}

// others is what the other control planes found.
func (l *Leader) others(found func(*Report) []Finding) (out []Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.notes {
		if !l.notes[i].own {
			out = append(out, found(&l.notes[i].report)...)
		}
	}
	return out
}

// Live is how the regions stand to a rollout now, by name, as all control planes tell; empty unless it is active.
func (l *Leader) Live(s *State) []*adminv1.RolloutRegion { return s.Merge(l.Reports()) }
