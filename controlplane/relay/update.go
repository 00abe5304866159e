package relay

import (
	"fmt"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/update"
)

// leadsTo returns the version after an update. An error says that it isn't what its digest says.
func leadsTo(u *update.Update, held *confset.Set) (*version, error) {
	set, _, err := u.Over(held)
	if err != nil {
		return nil, err
	}
	v := &version{set: set, epoch: u.Epoch, revision: u.Revision, traceparent: u.Traceparent}
	if n := len(u.Changes); n > 0 {
		v.change = u.Changes[n-1]
	}
	return v, nil
}

// Removals above this count and this share of what is held, both, are refused in a whole set of another epoch, and so are those that leave no
// server.
const guardCount, guardShare = 10, 0.2

// suspicious says why a whole set isn't taken; empty: it is.
func suspicious(held, next *version, full bool) string {
	if !full || held == nil || held.epoch == next.epoch {
		return ""
	}
	gone, all := len(confset.Diff(held.set, next.set).Removals), held.set.Len()
	many := gone > guardCount && float64(gone) > guardShare*float64(all)
	if !many && (!hasServer(held.set) || hasServer(next.set)) {
		return ""
	}
	return fmt.Sprintf("held: the store was made anew or restored (epoch %.40s, before %.40s) and its config lacks %d of the %d objects that this relay holds; if that is meant, stop the relay, remove its copy and start it again",
		next.epoch, held.epoch, gone, all)
}

func hasServer(set *confset.Set) bool {
	for range set.Kind("server") {
		return true
	}
	return false
}
