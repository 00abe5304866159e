package view

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// staging is what the stored rollouts are and what they hold back. It is immutable.
type staging struct {
	byID   map[string]*rollout.State
	all    []*rollout.State // newest first
	active *rollout.State   // nil: none

	images map[string]mask        // by change, of open rollouts
	held   map[confset.Key]string // the change that holds an object
	masks  [rings]mask            // what stands in for objects; the same for both without an active rollout
}

// newStaging derives what is held back; images are those of the open rollouts.
func newStaging(byID map[string]*rollout.State, images map[string]mask) *staging {
	s := &staging{byID: byID, images: images, held: map[confset.Key]string{}, masks: [rings]mask{{}, {}}}
	ids := slices.Sorted(maps.Keys(byID))
	for _, id := range ids {
		s.all = append(s.all, byID[id])
	}
	s.active = activeOf(s.all)
	for _, id := range ids {
		state := byID[id]
		for key, img := range images[id] {
			if _, ok := s.held[key]; !ok { // the oldest holds it
				s.held[key] = id
				s.masks[ringOld][key] = img
			}
			if _, ok := s.masks[ringNew][key]; !ok && state != s.active {
				s.masks[ringNew][key] = img
			}
		}
	}
	slices.Reverse(s.all)
	if s.active == nil {
		s.masks[ringNew] = s.masks[ringOld]
	}
	return s
}

// activeOf returns the rollout that admits data planes; all are the oldest first. Should there be two, it is the one that has admitted some.
func activeOf(all []*rollout.State) (active *rollout.State) {
	for _, state := range all {
		if state.Active() && (active == nil || active.Body.GetStep() == 0 && state.Body.GetStep() > 0) {
			active = state
		}
	}
	return active
}

// restage returns the staging after an event of the watch. It may read the store; old is what was known before.
func (v *Views) restage(ctx context.Context, e store.Event, old *Snapshot) (*staging, error) {
	was := v.staging.Load()
	if !slices.ContainsFunc(e.Upserts, func(h store.Head) bool { return h.Object.Key.Kind == rollout.Kind }) &&
		!slices.ContainsFunc(e.Removals, func(k confset.Key) bool { return k.Kind == rollout.Kind }) {
		return was, nil
	}
	byID := map[string]*rollout.State{}
	maps.Copy(byID, was.byID)
	for _, key := range e.Removals {
		if key.Kind == rollout.Kind {
			delete(byID, key.Name)
		}
	}
	for _, h := range e.Upserts {
		if h.Object.Key.Kind != rollout.Kind {
			continue
		}
		h.Revision = e.Revision
		if err := parseInto(byID, h); err != nil {
			return nil, err
		}
	}
	return v.imagine(ctx, byID, was.images, old)
}

// stagingOf returns the staging of a whole store.
func (v *Views) stagingOf(ctx context.Context, now, old *Snapshot) (*staging, error) {
	was, byID := newStaging(nil, nil), map[string]*rollout.State{}
	if old != nil && old.Epoch == now.Epoch {
		was = v.staging.Load()
	}
	for _, h := range now.List(rollout.Kind, "", now.Len()) {
		if known := was.byID[h.Object.Key.Name]; known != nil && known.Revision == h.Revision {
			byID[h.Object.Key.Name] = known
			continue
		}
		if err := parseInto(byID, h); err != nil {
			return nil, err
		}
	}
	return v.imagine(ctx, byID, was.images, old)
}

func parseInto(byID map[string]*rollout.State, h store.Head) error {
	state, err := rollout.Parse(h.Object.Body, h.Revision)
	if err != nil {
		return fmt.Errorf("view: %s: %w", h.Object.Key, err)
	}
	byID[h.Object.Key.Name] = state
	return nil
}

// imagine finds what was before the open rollouts: what is known already, or stands in a snapshot, or the store has.
func (v *Views) imagine(ctx context.Context, byID map[string]*rollout.State, known map[string]mask, old *Snapshot) (*staging, error) {
	images := map[string]mask{}
	for id, state := range byID {
		if !state.Open() {
			continue
		}
		if m, ok := known[id]; ok {
			images[id] = m
			continue
		}
		m := make(mask, len(state.Body.GetObjects()))
		for _, o := range state.Body.GetObjects() {
			if rules.Kept(o.GetKind()) {
				continue
			}
			img, err := v.imageOf(ctx, o, old)
			if err != nil {
				return nil, fmt.Errorf("view: what was before rollout %s: %s/%s: %w", id, o.GetKind(), o.GetName(), err)
			}
			m[confset.Key{Kind: o.GetKind(), Name: o.GetName()}] = img
		}
		images[id] = m
	}
	return newStaging(byID, images), nil
}

// imageOf returns one object as it was.
func (v *Views) imageOf(ctx context.Context, o *adminv1.StagedObject, old *Snapshot) (image, error) {
	if len(o.GetBefore()) == 0 {
		return image{}, nil
	}
	if len(o.GetBefore()) != len(confset.Hash{}) {
		return image{}, fmt.Errorf("%d bytes aren't a hash", len(o.GetBefore()))
	}
	h := store.Head{Object: confset.Object{Key: confset.Key{Kind: o.GetKind(), Name: o.GetName()}, UID: o.GetUid(), Hash: confset.Hash(o.GetBefore())},
		Generation: o.GetGeneration(), Created: o.GetCreateTime().AsTime(), Set: o.GetSet()}
	if was, ok := old.Get(o.GetKind(), o.GetName()); ok && was.Object.Hash == h.Object.Hash {
		h.Object.Body = was.Object.Body
	} else {
		body, err := v.cfg.Store.Body(ctx, h.Object.Hash)
		if err != nil {
			return image{}, err
		}
		h.Object.Body = body
	}
	if !h.Object.Intact() {
		return image{}, fmt.Errorf("body %s isn't what its hash says", h.Object.Hash)
	}
	opened, err := v.cfg.Open(h)
	if err != nil {
		v.cfg.Log.Error("an object can't be opened as it was; who has it keeps it", slog.String("object", h.Object.Key.String()), slog.Any("error", err))
		return image{lost: true}, nil
	}
	img := image{obj: &opened}
	if opened.Key.Kind == kindServer {
		img.need = needOf(opened)
	}
	return img, nil
}

// concerned returns the objects of all rollouts that aren't the same in two stagings, in canonical order.
func concerned(was, now *staging) []confset.Key {
	keys := map[confset.Key]struct{}{}
	add := func(from, other *staging) {
		for id, state := range from.byID {
			if other.byID[id] == state {
				continue
			}
			for _, key := range state.Keys() {
				if !rules.Kept(key.Kind) {
					keys[key] = struct{}{}
				}
			}
		}
	}
	if was != now {
		add(was, now)
		add(now, was)
	}
	return sortedKeys(keys)
}

// Rollouts returns all stored rollouts, newest first; shared and read-only.
func (v *Views) Rollouts() []*rollout.State { return v.staging.Load().all }

// Active returns the rollout that admits data planes; nil: none.
func (v *Views) Active() *rollout.State { return v.staging.Load().active }

// Staged returns the change whose rollout, which is still open, holds an object: nobody else may write it.
func (v *Views) Staged(key confset.Key) (change string, ok bool) {
	change, ok = v.staging.Load().held[key]
	return change, ok
}
