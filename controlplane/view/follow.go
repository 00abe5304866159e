package view

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

const (
	backoffLeast = 100 * time.Millisecond
	// A watch that lasted so long counts as a success: the next wait is short again.
	watchGood = 5 * time.Second
)

// follow loads and watches the store until ctx ends.
func (v *Views) follow(ctx context.Context) {
	wait := backoff{most: v.cfg.Backoff}
	load := true
	for ctx.Err() == nil {
		if err := v.reach(ctx, load); err != nil {
			v.lost(ctx, err)
			load = load || again(err)
			wait.pause(ctx)
			continue
		}
		loaded, began := load, time.Now()
		err := v.cfg.Store.Watch(ctx, v.Revision(), func(e store.Event) error { return v.fold(ctx, e) })
		if time.Since(began) >= watchGood {
			wait.reset()
		}
		if load = again(err); load {
			v.cfg.Log.Info("the watch can't go on; reading the whole store", slog.Any("reason", err))
		} else {
			v.lost(ctx, err)
		}
		if !load || loaded && time.Since(began) < watchGood {
			wait.pause(ctx)
		}
	}
}

// again says whether the store has to be loaded anew after a watch ended so.
func again(err error) bool {
	return errors.Is(err, store.ErrCompacted) || errors.Is(err, store.ErrEpoch)
}

// reach loads the store, or finds out with one small read whether it answers again.
func (v *Views) reach(ctx context.Context, load bool) error {
	if load {
		snap, err := v.cfg.Store.Load(ctx)
		if err == nil {
			err = v.replace(ctx, snap)
		}
		return err
	}
	_, err := v.cfg.Store.Get(ctx, confset.Key{Kind: "settings", Name: "default"})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	v.found()
	return nil
}

// lost notes that the store is out of reach.
func (v *Views) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lostAt.IsZero() {
		v.lostAt = time.Now()
		v.cfg.Log.Warn("the store is out of reach; views stay as they are", slog.Any("error", err))
	}
}

// found notes that the store answers again.
func (v *Views) found() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.lostAt.IsZero() {
		v.cfg.Log.Info("the store answers again", slog.Duration("after", time.Since(v.lostAt)))
		v.lostAt = time.Time{}
	}
}

// backoff waits longer each time, with decorrelated jitter: the next wait is random between the least and three times the last.
type backoff struct {
	most, last time.Duration
}

func (b *backoff) reset() { b.last = 0 }

func (b *backoff) pause(ctx context.Context) {
	b.last = min(b.most, backoffLeast+rand.N(3*max(b.last, backoffLeast)))
	t := time.NewTimer(b.last)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
