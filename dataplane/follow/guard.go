package follow

import (
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/update"
)

// Removals above this count and this share of what is served, both, are held when a store that was made anew or restored wants them, and so
// are those that leave no server.
const guardCount, guardShare = 10, 0.2

// emptied reports whether nothing is left that could be served: all servers of the set go, and none comes.
func emptied(set *confset.Set, d confset.Delta) bool {
	servers := 0
	for range set.Kind("server") {
		servers++
	}
	leaving := servers
	for _, k := range d.Removals {
		if k.Kind == "server" {
			leaving--
		}
	}
	coming := slices.ContainsFunc(d.Upserts, func(o confset.Object) bool { return o.Key.Kind == "server" })
	return servers > 0 && leaving == 0 && !coming
}

// suspicious says why an update is refused that would remove much because the control plane's store is another one than before; empty: it
// isn't. A store that lost its content must not empty the fleet. Only whole sets are looked at: a control plane that sends a delta knows
// what is held here, and has held such removals itself until somebody confirmed them.
func (f *Follower) suspicious(u *update.Update, d confset.Delta) string {
	held := f.cfg.Table.Load().Version().Epoch
	gone, all := len(d.Removals), f.set.Len()
	many := gone > guardCount && float64(gone) > guardShare*float64(all)
	if !u.Full || held == "" || held == u.Epoch || !many && !emptied(f.set, d) {
		return ""
	}
	return fmt.Sprintf("held: the store was made anew or restored (epoch %.40s, before %.40s) and its config lacks %d of the %d objects served here; if that is meant, stop this data plane, empty its state directory and start it again",
		u.Epoch, held, gone, all)
}

// hold notes why the newest update is held, or with an empty reason that none is.
func (f *Follower) hold(reason string) {
	f.note(func(s *Status) { s.Held = reason })
}
