package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// series is the runs with one config.
type series struct {
	o       *options
	name    string
	control *control
	crowd   *crowd
	real    followers
	empty   int64   // bytes the server had in RAM without streams
	unused  float64 // bytes in use then
}

// measure takes all figures with one config.
func measure(ctx context.Context, o *options, name, dir string, into *figures) error {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	c, err := newControl(o, ca, dir)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := c.start(ctx); err != nil {
		return err
	}
	began := time.Now()
	revision, err := fill(ctx, c.api, configs[name])
	if err != nil {
		return err
	}
	note("%s config: written in %.1f s", name, time.Since(began).Seconds())
	inner, cancel := context.WithCancel(ctx)
	s := &series{o: o, name: name, control: c, crowd: newCrowd(inner, ca)}
	s.crowd.health = o.health
	defer s.crowd.wg.Wait()
	defer s.real.wg.Wait()
	defer cancel()
	return s.run(ctx, dir, revision, into)
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, "fanout: "+format+"\n", args...) }

func (s *series) run(ctx context.Context, dir string, revision int64, into *figures) error {
	h, err := fetch(ctx, s.crowd.ca, revision)
	if err != nil {
		return err
	}
	real := s.o.real
	if s.name == "large" {
		real /= 4
	}
	if err := s.real.start(s.crowd.ctx, s.crowd.ca, dir, real); err != nil {
		return err
	}
	if err := s.real.settle(ctx, h.revision); err != nil {
		return err
	}
	if s.unused, err = s.control.inUse(ctx); err != nil {
		return err
	}
	s.empty = memory(s.control.pid())
	for _, n := range s.o.streams {
		r, err := s.at(ctx, n, h)
		if err != nil {
			return fmt.Errorf("%d streams: %w", n, err)
		}
		into.Series = append(into.Series, r)
		h = s.newest(h)
	}
	if !s.o.restart {
		return nil
	}
	b, err := s.back(ctx)
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	into.Returns = append(into.Returns, b)
	return nil
}

// newest returns what the data planes hold now; those that come next start with it.
func (s *series) newest(was held) held {
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	if s.crowd.newest.revision > was.revision {
		return s.crowd.newest
	}
	return was
}

// at grows the crowd to n streams and measures with them.
func (s *series) at(ctx context.Context, n int, h held) (*row, error) {
	began := time.Now()
	if err := s.crowd.grow(n, h); err != nil {
		return nil, err
	}
	if err := s.crowd.settle(n, 90*time.Second); err != nil {
		return nil, err
	}
	note("%d streams in sync after %.1f s", n, time.Since(began).Seconds())
	r := &row{Config: s.name, Streams: n, Real: len(s.real.all)}
	for range 3 { // warm up
		if _, _, err := s.change(ctx); err != nil {
			return nil, err
		}
	}
	full, lost := s.crowd.full.Load(), s.crowd.lost.Load()
	if err := s.changes(ctx, r); err != nil {
		return nil, err
	}
	r.Resyncs, r.Lost = s.crowd.full.Load()-full, s.crowd.lost.Load()-lost
	if r.Resyncs > 0 || r.Lost > 0 {
		return nil, fmt.Errorf("%d streams were lost and %d resynced", r.Lost, r.Resyncs)
	}
	rss := memory(s.control.pid())
	r.Whole, r.Memory = float64(rss)/(1<<20), float64(rss-s.empty)/1024/float64(n)
	used, err := s.control.inUse(ctx)
	if err != nil {
		return nil, err
	}
	r.Used = (used - s.unused) / 1024 / float64(n)
	r.Idle = s.idle(ctx, n)
	note("%d streams: last ACK p50 %.0f ms, server %.1f us/push, %.1f KiB/stream in use, %.1f in RAM, idle %.2f %%", n, r.LastP50, r.Push, r.Used, r.Memory, r.Idle)
	return r, nil
}

// changes times one-object changes.
func (s *series) changes(ctx context.Context, r *row) error {
	var lasts, commits []float64
	pause := time.NewTicker(200 * time.Millisecond) // longer than the control plane's debounce: each change travels alone
	defer pause.Stop()
	var server, own, all, wall time.Duration
	defer s.profiling(ctx, "changes", r.Streams)()
	for range s.o.changes {
		<-pause.C
		server0, own0, all0, began := cpu(s.control.pid()), cpu(os.Getpid()), busy(), time.Now()
		commit, last, err := s.change(ctx)
		if err != nil {
			return err
		}
		wall += time.Since(began)
		server, own, all = server+cpu(s.control.pid())-server0, own+cpu(os.Getpid())-own0, all+busy()-all0
		commits, lasts = append(commits, ms(commit)), append(lasts, ms(last))
	}
	n := float64((r.Streams + r.Real) * s.o.changes)
	r.Changes, r.LastP50, r.LastMax, r.Commit = s.o.changes, quantile(lasts, 0.5), quantile(lasts, 1), quantile(commits, 0.5)
	r.Push, r.Client = us(server)/n, us(own)/n
	r.Foreign = max(0, float64(all-server-own)/float64(wall)/cores())
	return nil
}

// change makes one change and waits until the control plane says that all have answered.
func (s *series) change(ctx context.Context) (commit, last time.Duration, err error) {
	began := time.Now()
	c, err := s.control.api.CreateChange(ctx, &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{server(moving, 700)}})
	if err != nil {
		return 0, 0, err
	}
	commit = time.Since(began)
	if err := s.crowd.all(ctx, c.GetRevision()); err != nil {
		return 0, 0, err
	}
	return commit, time.Since(began), s.confirmed(ctx, c.GetId(), began, &last)
}

// confirmed asks the control plane until all have answered.
func (s *series) confirmed(ctx context.Context, id string, began time.Time, last *time.Duration) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < time.Minute {
		c, err := s.control.api.GetChange(ctx, &adminv1.GetChangeRequest{Id: id})
		if err != nil {
			return err
		}
		if d := c.GetDelivery(); d.GetPending() == 0 && int(d.GetApplied()) == s.crowd.size+len(s.real.all) {
			*last = time.Since(began)
			return nil
		}
		<-tick.C
	}
	return fmt.Errorf("the control plane doesn't say that all have answered change %s", id)
}

// idle watches the server's CPU while nothing changes.
func (s *series) idle(ctx context.Context, streams int) float64 {
	defer s.profiling(ctx, "idle", streams)()
	server0, began := cpu(s.control.pid()), time.Now()
	t := time.NewTimer(s.o.idle)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return float64(cpu(s.control.pid())-server0) / float64(time.Since(began)) * 100
}

// profiling takes a CPU profile of the server during a phase, if one is wanted.
func (s *series) profiling(ctx context.Context, phase string, streams int) (wait func()) {
	if s.o.profile == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err := s.control.get(ctx, "/debug/pprof/profile?seconds=10")
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("%s-%s-%s-%d.pprof", s.o.profile, s.name, phase, streams), b, 0o644)
		}
		if err != nil {
			note("profile: %v", err)
		}
	}()
	return func() { <-done }
}

// back kills the control plane, starts it anew and waits until all data planes are in sync again.
func (s *series) back(ctx context.Context) (*back, error) {
	n := s.crowd.size
	updates, payload, wire, lost := s.crowd.updates.Load(), s.crowd.payload.Load(), s.crowd.wire.Load(), s.crowd.lost.Load()
	began := time.Now()
	if err := s.control.kill(); err != nil {
		return nil, err
	}
	if err := s.control.start(ctx); err != nil {
		return nil, err
	}
	b := &back{Config: s.name, Streams: n, Ready: time.Since(began).Seconds()}
	defer s.profiling(ctx, "restart", n)()
	for s.crowd.lost.Load()-lost < int64(n) { // every stream ends before it can be back
		if time.Since(began) > time.Minute {
			return nil, fmt.Errorf("only %d of %d streams noticed", s.crowd.lost.Load()-lost, n)
		}
		<-time.After(10 * time.Millisecond)
	}
	if err := s.crowd.settle(n, 2*time.Minute); err != nil {
		return nil, err
	}
	b.Synced = time.Since(began).Seconds()
	b.Updates, b.Payload = s.crowd.updates.Load()-updates, s.crowd.payload.Load()-payload
	b.Wire, b.Attempts = float64(s.crowd.wire.Load()-wire)/float64(n), float64(s.crowd.lost.Load()-lost)/float64(n)
	b.CPU = cpu(s.control.pid()).Seconds()
	return b, nil
}
