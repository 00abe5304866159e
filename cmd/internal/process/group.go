package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// ErrDeadline is in the error of Group.Run when actors didn't end in time.
var ErrDeadline = errors.New("did not stop in time")

// GroupConfig is what a Group needs.
type GroupConfig struct {
	// Log says when actors stop; required.
	Log *slog.Logger
	// Deadline is how long stopping may take altogether; 0 means 40 s, which is more than the default drain.
	Deadline time.Duration
}

// Group runs the parts of a process. They start in the order they were added and stop in the opposite order, each when the one added
// after it has ended: what others lean on is added first and outlives them.
type Group struct {
	cfg    GroupConfig
	actors []*actor
}

type actor struct {
	name   string
	run    func(context.Context) error
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
	err    error         // set before done is closed
}

// NewGroup returns an empty group.
func NewGroup(cfg GroupConfig) (*Group, error) {
	if cfg.Log == nil {
		return nil, errors.New("config: Log is required")
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 40 * time.Second
	}
	return &Group{cfg: cfg}, nil
}

// Add names a part. run blocks until ctx ends or it fails; a nil return before that means its work is done and stops nobody. Add must not
// be called once Run has been.
func (g *Group) Add(name string, run func(ctx context.Context) error) {
	g.actors = append(g.actors, &actor{name: name, run: run, done: make(chan struct{})})
}

// Run starts all actors and waits for all of them. The first to fail, ctx, or all having ended makes the rest stop. It returns the errors
// of the actors with their names, the first failure first; an actor's error after it was told to stop counts too, unless it is ctx's own.
// When Deadline passes after the stop began, Run tells everybody to stop and returns an error that wraps ErrDeadline and names who is
// still running; their goroutines are abandoned, and the process should exit.
func (g *Group) Run(ctx context.Context) error {
	failed := make(chan *actor, len(g.actors))
	root := context.WithoutCancel(ctx)
	for _, a := range g.actors {
		a.start(root, failed)
	}
	first := g.await(ctx, failed)
	if first != nil {
		g.cfg.Log.Error("part failed, stopping", "part", first.name, "error", first.err)
	}
	stuck := g.stop()
	return g.result(first, stuck)
}

// start runs the actor on its own goroutine; stop waits for it by done.
func (a *actor) start(ctx context.Context, failed chan<- *actor) {
	ctx, a.cancel = context.WithCancel(ctx)
	go func() {
		defer close(a.done)
		if a.err = a.run(ctx); a.err != nil {
			failed <- a
		}
	}()
}

// await returns when ctx ends (nil), when all actors ended by themselves (nil), or with the first that failed.
func (g *Group) await(ctx context.Context, failed <-chan *actor) *actor {
	for _, a := range g.actors {
		select {
		case <-ctx.Done():
			return nil
		case f := <-failed:
			return f
		case <-a.done:
			if a.err != nil { // both channels were ready
				return a
			}
		}
	}
	return nil
}

// stop cancels from the last to the first, each after the one before has ended, and returns those that missed the deadline.
func (g *Group) stop() (stuck []string) {
	deadline := time.NewTimer(g.cfg.Deadline)
	defer deadline.Stop()
	for i := len(g.actors) - 1; i >= 0; i-- {
		a := g.actors[i]
		a.cancel()
		begin := time.Now()
		select {
		case <-a.done:
			g.cfg.Log.Info("part stopped", "part", a.name, "took", time.Since(begin).Round(time.Millisecond))
		case <-deadline.C:
			return g.abandon(g.actors[:i+1])
		}
	}
	return nil
}

// lastCall is how long actors have when the deadline has passed and all are told at once.
const lastCall = time.Second

func (g *Group) abandon(rest []*actor) (stuck []string) {
	for _, a := range rest {
		a.cancel()
	}
	end := time.NewTimer(lastCall)
	defer end.Stop()
	late := false
	for _, a := range rest {
		if !late {
			select {
			case <-a.done:
			case <-end.C:
				late = true
			}
		}
		if !a.ended() {
			stuck = append(stuck, a.name)
		}
	}
	g.cfg.Log.Error("parts did not stop in time", "parts", strings.Join(stuck, ", "), "deadline", g.cfg.Deadline)
	return stuck
}

func (a *actor) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (g *Group) result(first *actor, stuck []string) error {
	var errs []error
	if first != nil {
		errs = append(errs, fmt.Errorf("%s: %w", first.name, first.err))
	}
	for _, a := range g.actors {
		if a == first || !a.ended() || a.err == nil || errors.Is(a.err, context.Canceled) {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", a.name, a.err))
	}
	if len(stuck) > 0 {
		errs = append(errs, fmt.Errorf("%s: %w", strings.Join(stuck, ", "), ErrDeadline))
	}
	return errors.Join(errs...)
}
