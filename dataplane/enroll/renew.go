package enroll

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// renewLeast is the least time between two renewals, also when this machine's clock says that what just came is due again, and lookEvery how
	// often the clock is looked at, which may be set, or go on while the machine sleeps.
	renewLeast, lookEvery = 5 * time.Minute, 5 * time.Minute
)

// Run renews the certificate until ctx ends; then it returns nil. Start comes first. Connections that are open stay.
func (e *Enroller) Run(ctx context.Context) error {
	if e.await(ctx, 0) != nil {
		return nil //nolint:nilerr // told to stop
	}
	for failed := time.Duration(0); ; {
		err := e.renew(ctx)
		if err == nil {
			failed, err = 0, e.await(ctx, renewLeast)
		}
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop
		case err == nil:
			continue
		}
		failed = longer(failed)
		pause := failed
		if final(err) || e.ended() && e.cfg.Token.Zero() {
			pause = endedPause/2 + rand.N(endedPause/2)
		}
		e.cfg.Log.WarnContext(ctx, "the certificate can't be renewed; updates end with it, traffic doesn't", "error", err, "ends", e.Expires(), "wait", pause.Round(time.Millisecond))
		if sleep(ctx, pause) != nil {
			return nil //nolint:nilerr // told to stop
		}
	}
}

// await returns when two thirds of the certificate's life are over by the clock, or up to a twentieth of it earlier, and no sooner than least.
func (e *Enroller) await(ctx context.Context, least time.Duration) error {
	leaf := e.current.Load().leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	due := leaf.NotBefore.Add(life*2/3 - rand.N(life/20+1))
	err := sleep(ctx, least)
	for left := due.Sub(e.cfg.Now()); err == nil && left > 0; left = due.Sub(e.cfg.Now()) {
		err = sleep(ctx, min(left, lookEvery))
	}
	return err
}

func (e *Enroller) ended() bool { return !e.cfg.Now().Before(e.Expires()) }

// renew gets the next certificate; one that has ended proves nothing, so it takes the token again.
func (e *Enroller) renew(ctx context.Context) error {
	switch {
	case !e.ended():
		return e.enroll(ctx, false)
	case e.cfg.Token.Zero():
		return errors.New("it has ended; start this data plane with a new join token: hopgate token create")
	}
	return e.enroll(ctx, true)
}
