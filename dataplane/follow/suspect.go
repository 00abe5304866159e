package follow

import (
	"context"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// heldOff says why a config is refused as suspect; empty: it isn't.
func (f *Follower) heldOff(d confset.Digest, now time.Time) (reason string) {
	s := f.store.Suspect()
	if s == nil || s.Version.Digest != d {
		return ""
	}
	of := len(f.cfg.RetrySuspect)
	switch {
	case f.retryAt.IsZero():
		return fmt.Sprintf("suspect: this data plane ended without a clean stop under this config, also when it was tried again (%d of %d times); change the config to clear it", s.Tries, of)
	case now.Before(f.retryAt):
		return fmt.Sprintf("suspect: this data plane ended without a clean stop under this config; it is tried again in %s (%d of %d)",
			max(f.retryAt.Sub(now).Round(time.Second), time.Second), s.Tries+1, of)
	}
	return ""
}

// suspectDigest is what Hello says about it: empty when there is none or it may be tried again.
func (f *Follower) suspectDigest(now time.Time) []byte {
	s := f.store.Suspect()
	if s == nil || f.heldOff(s.Version.Digest, now) == "" {
		return nil
	}
	return s.Version.Digest[:]
}

// retryTimer fires when a suspect that is held off now may be tried again; a nil channel: never.
func (f *Follower) retryTimer(now time.Time) (fires <-chan time.Time, stop func()) {
	if f.suspectDigest(now) == nil || f.retryAt.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(f.retryAt.Sub(now))
	return t.C, func() { t.Stop() }
}

// prove marks configs good that have served in good health for long enough, each counted from when it came into force.
func (f *Follower) prove(ctx context.Context) {
	tick := time.NewTicker(min(max(f.cfg.GoodAfter/20, 10*time.Millisecond), time.Second))
	defer tick.Stop()
	well := time.Now() // since when health is good
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		before := now.Add(-f.cfg.GoodAfter)
		switch {
		case !f.cfg.Healthy():
			well = now
		case !well.After(before):
			if marked, err := f.store.MarkGoodSince(before); marked {
				f.keptOnDisk(err)
			}
		}
	}
}

// absolve forgets a suspect when the control plane, later than it wanted that one, wants another config, which is served.
func (f *Follower) absolve(wanted table.Version) {
	s := f.store.Suspect()
	if s == nil || s.Version.Digest == wanted.Digest || s.Version.Epoch == wanted.Epoch && s.Version.Revision >= wanted.Revision {
		return
	}
	f.cfg.Log.Info("the suspect config is not wanted any more", "revision", wanted.Revision, "suspect_revision", s.Version.Revision)
	f.keptOnDisk(f.store.Absolve())
}

// keptOnDisk notes whether a write to the state directory worked.
func (f *Follower) keptOnDisk(err error) {
	before := error(nil)
	f.note(func(s *Status) { before, s.DiskError = s.DiskError, err })
	switch {
	case err != nil:
		f.metrics.diskErrors.Inc()
		f.cfg.Log.Error("config is served but not kept on disk", "error", err)
	case before != nil:
		f.cfg.Log.Info("config is kept on disk again")
	}
}
