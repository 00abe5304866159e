package controlplane

import (
	"context"
	"fmt"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/proto/confset"
)

// newRotator makes what gives the sealing ring new keys. A relay gets its ring from home.
func (p *Plane) newRotator() (err error) {
	if _, reads := p.cfg.Store.(Relay); reads {
		return nil
	}
	p.rotator, err = secret.NewRotator(secret.Rotation{Store: p.cfg.Store, KEK: p.cfg.KEK, Name: secret.SessionRing, Everyone: p.everyone, Log: p.cfg.Log})
	return err
}

// rotate gives the sealing ring new keys until ctx ends.
func (p *Plane) rotate(ctx context.Context) error {
	if p.rotator == nil {
		return nil
	}
	return p.rotator.Run(ctx)
}

// everyone returns nil when every data plane of this control plane serves a revision of the ring. Those of others have the rotation's grace.
func (p *Plane) everyone(ctx context.Context, revision int64) error {
	d, err := p.fleet.Wait(ctx, revision, confset.Key{Kind: secret.KindRing, Name: secret.SessionRing})
	switch {
	case err != nil:
		return fmt.Errorf("%d of %d data planes haven't answered: %w", d.GetPending(), d.GetNodes(), err)
	case d.GetRejected() > 0:
		return fmt.Errorf("%d data planes refuse it, %s: %s", d.GetRejected(), d.GetRefusals()[0].GetNode(), d.GetRefusals()[0].GetText())
	}
	return nil
}
