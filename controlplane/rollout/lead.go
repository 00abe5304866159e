package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hopgate/hopgate/controlplane/store"
)

const (
	// SayEvery is how often a control plane tells the others what changed, at most, and looks at a rollout that is active.
	SayEvery = 200 * time.Millisecond
	// UnsureFor is how long nobody is admitted after a control plane began, or another went, while a rollout is active: its data planes are on
	// their way back and in nobody's report.
	UnsureFor = 10 * time.Second

	retryAfter = time.Second
	commitWait = 10 * time.Second
)

// Config is what a Leader works with. Store, Rollouts, Moved, Report and Replica are needed.
type Config struct {
	Store store.Store
	// Rollouts returns all stored rollouts, newest first, as this control plane knows them. It is loaded before Run.
	Rollouts func() []*State
	// Moved returns a channel that is closed when Rollouts may have something else to tell.
	Moved func() <-chan struct{}
	// Report counts the data planes of this control plane with regard to the active rollout, about every SayEvery while there is one. It may ask
	// Missed for those that others miss.
	Report  func(now time.Time) Report
	Replica string               // name of this control plane
	Tracer  trace.TracerProvider // nil: none
	Log     *slog.Logger         // nil: slog.Default
	Now     func() time.Time     // nil: time.Now
}

// Leader takes part in the meeting of control planes, and takes rollouts on while it leads. Its methods may be called at the same time.
//
// It costs a lease while no rollout is open. All it knows is in the store and in the notes of the others: it may die between any two commits.
type Leader struct {
	c      Config
	tracer trace.Tracer
	turned chan struct{} // our note is to be asked for
	heard  chan struct{} // the notes changed

	mu     sync.Mutex
	notes  []note    // guarded by mu; oldest first
	own    note      // guarded by mu; newest of ours
	said   []byte    // guarded by mu; its report as JSON
	unsure time.Time // guarded by mu; until then data planes may be on their way back

	// Used by Run's goroutine alone.
	lastSaid time.Time
	lastErr  string
	sights   sights
}

// note is what one control plane said last.
type note struct {
	report Report
	own    bool
	fence  store.Fence
	since  map[absence]time.Time // by our clock, when we heard first that it is missing
}

// NewLeader checks the config and fills in what is left out. Errors name the field.
func NewLeader(c Config) (*Leader, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("rollout: Store is needed")
	case c.Rollouts == nil:
		return nil, errors.New("rollout: Rollouts is needed")
	case c.Moved == nil:
		return nil, errors.New("rollout: Moved is needed")
	case c.Report == nil:
		return nil, errors.New("rollout: Report is needed")
	case c.Replica == "":
		return nil, errors.New("rollout: Replica is needed: the name of this control plane")
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Leader{c: c, tracer: c.Tracer.Tracer("hopgate"), turned: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
	l.own.report = Report{Replica: c.Replica}
	l.said, _ = json.Marshal(l.own.report)
	return l, nil
}

// Run takes part until ctx ends, and returns its error. Nothing else ends it: errors are logged, each once until another outcome follows.
func (l *Leader) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	if active(l.c.Rollouts()) {
		l.doubt()
	}
	met := make(chan struct{})
	go func() {
		defer close(met)
		l.meet(ctx)
	}()
	defer func() {
		cancel()
		<-met
	}()
	for {
		moved := l.c.Moved() // before looking: what comes later wakes
		if err := l.wait(ctx, moved, l.turn(ctx)); err != nil {
			return err
		}
	}
}

// wait returns when there may be something to do.
func (l *Leader) wait(ctx context.Context, moved <-chan struct{}, again time.Time) error {
	var due <-chan time.Time
	if !again.IsZero() {
		t := time.NewTimer(max(again.Sub(l.c.Now()), 5*time.Millisecond))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-moved:
	case <-l.heard:
	case <-due:
	}
	return ctx.Err()
}

// turn says what this control plane knows, and leads if it does. It returns when to do so again at the latest; zero: when something happens.
func (l *Leader) turn(ctx context.Context) (again time.Time) {
	all := l.c.Rollouts()
	now := l.c.Now()
	var open []*State
	for _, s := range all {
		if s.Open() {
			open = append(open, s)
		}
	}
	l.sights.look(open, now)
	if active(open) {
		again = now.Add(SayEvery)
		l.say(now)
	} else {
		l.rest()
	}
	fence, leads := l.leads()
	if !leads {
		return again
	}
	due, err := l.lead(ctx, all, open, fence, now)
	if l.failed(ctx, err) {
		return now.Add(retryAfter)
	}
	if again.IsZero() || !due.IsZero() && due.Before(again) {
		again = due
	}
	return again
}

func active(all []*State) bool { return slices.ContainsFunc(all, (*State).Active) }

// lead does at most one thing.
func (l *Leader) lead(ctx context.Context, all, open []*State, fence store.Fence, now time.Time) (again time.Time, err error) {
	s := pick(open)
	if s == nil {
		return l.tidy(ctx, all, fence, now)
	}
	s = l.sights.local(s)
	d := Next(s, open, l.Reports(), now)
	switch {
	case d.Undo != nil:
		err = l.undo(ctx, s, d.Undo, fence, now)
	case d.Body != nil:
		err = l.store(ctx, s, d, fence, now, rivals(s, open)...)
	}
	return d.Again, err
}

// pick returns the rollout that is to be taken on: one that is to be undone before the one under way, and that before the oldest of the queue.
func pick(open []*State) *State {
	var best *State
	rank := func(s *State) int {
		return slices.Index([]string{Queued, Paused, Rolling, Aborting}, s.Body.GetState())
	}
	for _, s := range open {
		if best == nil || rank(s) > rank(best) || rank(s) == rank(best) && s.Body.GetChange() < best.Body.GetChange() {
			best = s
		}
	}
	return best
}

// failed logs an error once, and reports whether to look again soon.
func (l *Leader) failed(ctx context.Context, err error) bool {
	var conflict *store.ConflictError
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil:
		l.lastErr = ""
		return false
	case errors.As(err, &conflict), errors.Is(err, store.ErrNotFound): // somebody was faster; we see soon what it is now
		return true
	case errors.Is(err, store.ErrFenced):
		l.c.Log.InfoContext(ctx, "another control plane leads rollouts")
		return true
	case err.Error() != l.lastErr:
		l.lastErr = err.Error()
		l.c.Log.WarnContext(ctx, "rollout can't go on", "error", err)
	}
	return true
}
