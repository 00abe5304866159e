package view

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// recordPage and recordPages bound the search for changes that name removals.
const recordPage, recordPages = 200, 100

// heldMark ends the epoch of a view that has more than the store.
const heldMark = "~held"

// epochFor returns the epoch under which a view is published. While removals are held it is another one than the store's, because what is
// held is known to this process alone: to a control plane that starts after it, or stands beside it, a data plane with these objects comes
// from another epoch, and the data plane holds their removal itself.
func epochFor(epoch string, held int) string {
	if held > 0 {
		return epoch + heldMark
	}
	return epoch
}

// said returns the removals that a change names; nil for none.
func said(c *store.ChangeRecord) map[confset.Key]struct{} {
	out := map[confset.Key]struct{}{}
	addSaid(out, c)
	return out
}

func addSaid(to map[confset.Key]struct{}, c *store.ChangeRecord) {
	if c == nil {
		return
	}
	for _, o := range c.Objects {
		if o.After == "" {
			to[confset.Key{Kind: o.Kind, Name: o.Name}] = struct{}{}
		}
	}
}

// saidSince returns the removals named by the changes that this replica hasn't seen. It asks the store only when there are so many removals
// that it matters; when the store doesn't tell, nothing is named.
func (v *Views) saidSince(ctx context.Context, gone []confset.Key, old *Snapshot) map[confset.Key]struct{} {
	if !confset.Much(len(gone), old.pushed()) {
		return nil
	}
	named, last := map[confset.Key]struct{}{}, v.lastChange()
	for before, page := "", 0; page < recordPages; page++ {
		records, err := v.cfg.Store.Changes(ctx, before, recordPage)
		if err != nil {
			v.cfg.Log.Warn("change records can't be read to explain removals", slog.Any("error", err))
			return nil
		}
		for _, c := range records {
			if c.ID <= last {
				return named
			}
			addSaid(named, c)
			before = c.ID
		}
		if len(records) < recordPage {
			return named
		}
	}
	return named
}

func (v *Views) lastChange() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.newest()
}

// guard returns the removals to publish and holds the others; mu is held. Below the limits everything passes.
func (v *Views) guard(gone []confset.Key, named map[confset.Key]struct{}, all int) []confset.Key {
	var pass, hold []confset.Key
	for _, key := range gone {
		if _, ok := named[key]; ok {
			pass = append(pass, key)
		} else {
			hold = append(hold, key)
		}
	}
	if !confset.Much(len(hold), all) {
		return gone
	}
	for _, key := range hold {
		v.held[key] = struct{}{}
	}
	v.cfg.Log.Error("removals are held: no change record names them; the fleet keeps these objects until the removals are confirmed",
		slog.Int("removals", len(hold)), slog.Int("objects", all), slog.String("first", hold[0].String()))
	return pass
}

// Confirm publishes the removals that are held and returns how many they were.
func (v *Views) Confirm() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.confirm()
}

// confirm is Confirm; mu is held.
func (v *Views) confirm() int {
	n := len(v.held)
	if n == 0 {
		return 0
	}
	removals := sortedKeys(v.held)
	v.stage(nil, removals)
	v.trail.from = v.index.Load().Revision // what is confirmed has no revision of its own
	clear(v.held)
	v.wake()
	v.cfg.Log.Warn("held removals are confirmed", slog.Int("removals", n))
	return n
}

func sortedKeys[V any](m map[confset.Key]V) []confset.Key {
	return slices.SortedFunc(maps.Keys(m), confset.Key.Compare)
}
