package follow

import (
	"fmt"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/update"
)

// suspicious says why an update is refused that would remove much because the control plane's store is another one than before; empty: it
// isn't. A store that lost its content must not empty the fleet. Only whole sets are looked at: a control plane that sends a delta knows
// what is held here, and has held such removals itself until somebody confirmed them.
func (f *Follower) suspicious(u *update.Update, d confset.Delta) string {
	held := f.cfg.Table.Load().Version().Epoch
	if !u.Full || held == "" || held == u.Epoch || !update.Suspicious(f.set, d) {
		return ""
	}
	return fmt.Sprintf("held: the store was made anew or restored (epoch %.40s, before %.40s) and its config lacks %d of the %d objects served here; if that is meant, stop this data plane, empty its state directory and start it again",
		u.Epoch, held, len(d.Removals), f.set.Len())
}

// hold notes why the newest update is held, or with an empty reason that none is.
func (f *Follower) hold(reason string) {
	f.note(func(s *Status) { s.Held = reason })
}
