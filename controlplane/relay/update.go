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

// suspicious says why a whole set isn't taken; empty: it is.
func suspicious(held, next *version, full bool) string {
	if !full || held == nil || held.epoch == next.epoch {
		return ""
	}
	d := confset.Diff(held.set, next.set)
	if !update.Suspicious(held.set, d) {
		return ""
	}
	return fmt.Sprintf("held: the store was made anew or restored (epoch %.40s, before %.40s) and its config lacks %d of the %d objects that this relay holds; if that is meant, stop the relay, remove its copy and start it again",
		next.epoch, held.epoch, len(d.Removals), held.set.Len())
}
