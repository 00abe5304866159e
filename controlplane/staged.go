package controlplane

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/attr"
)

// newLeader makes this control plane's part in taking staged changes on. A relay has none: it is one of the data planes that are led.
func (p *Plane) newLeader() (err error) {
	if _, reads := p.cfg.Store.(Relay); reads {
		return nil
	}
	p.leader, err = rollout.NewLeader(rollout.Config{Store: p.cfg.Store, Rollouts: p.views.Rollouts, Moved: p.views.Moved, Report: p.report,
		Replica: p.cfg.Replica, Tracer: p.cfg.Tracer, Log: p.cfg.Log})
	if err != nil {
		return err
	}
	return errors.Join(
		p.gauge(attr.MetricRolloutsOpen, "Staged changes that are queued, rolling, paused or being taken back.", p.openRollouts),
		p.gauge(attr.MetricRolloutLeader, "1 while this control plane takes staged changes on.", func() float64 {
			if p.leader.Leads() {
				return 1
			}
			return 0
		}))
}

func (p *Plane) gauge(name, help string, value func() float64) error {
	return p.cfg.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func (p *Plane) openRollouts() (n float64) {
	for _, s := range p.views.Rollouts() {
		if s.Open() {
			n++
		}
	}
	return n
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
