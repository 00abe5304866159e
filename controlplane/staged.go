package controlplane

import (
	"context"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
)

// newLeader makes this control plane's part in taking staged changes on. A relay has none: it is one of the data planes that are led.
func (p *Plane) newLeader() (err error) {
	if _, reads := p.cfg.Store.(Relay); reads {
		return nil
	}
	p.leader, err = rollout.NewLeader(rollout.Config{Store: p.cfg.Store, Rollouts: p.views.Rollouts, Moved: p.views.Moved, Report: p.report,
		Replica: p.cfg.Replica, Tracer: p.cfg.Tracer, Log: p.cfg.Log})
	return err
}

// report counts the data planes of this control plane with regard to the active rollout.
func (p *Plane) report(now time.Time) rollout.Report {
	p.fleet.Moved(p.leader.Elsewhere())
	r := p.fleet.Report(p.views.Active(), p.leader.Missed(), now)
	r.Replica = p.cfg.Replica
	return r
}

// lead takes staged changes on while this control plane leads, until ctx ends.
func (p *Plane) lead(ctx context.Context) error {
	if p.leader == nil {
		return nil
	}
	if p.WaitReady(ctx) != nil {
		return nil //nolint:nilerr // only when ctx has ended, which ends Run as well
	}
	p.leader.Run(ctx) //nolint:errcheck // only when ctx has ended, which ends Run as well
	return nil
}
