package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hopgate/hopgate/controlplane/secret"
)

// drainTime bounds how long streams and calls under way are waited for.
const drainTime = 8 * time.Second

// Boot opens the store, makes what a new one needs, and binds the sockets.
func (p *Plane) Boot(ctx context.Context) error {
	if err := p.cfg.Store.Open(ctx); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if err := p.bind(ctx); err != nil {
		return errors.Join(err, p.cfg.Store.Close())
	}
	return nil
}

func (p *Plane) bind(ctx context.Context) error {
	if _, reads := p.cfg.Store.(Relay); !reads {
		if err := secret.EnsureRing(ctx, p.cfg.Store, p.cfg.KEK, secret.SessionRing); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	var err error
	if p.admin, err = lc.Listen(ctx, "tcp", p.cfg.Admin); err != nil {
		return fmt.Errorf("admin API: %w", err)
	}
	if p.cfg.Sync == "" {
		return nil
	}
	lc.KeepAlive = -1 // gRPC pings; with its TCP_USER_TIMEOUT one lost probe of the kernel's would end a quiet connection
	if p.sync, err = lc.Listen(ctx, "tcp", p.cfg.Sync); err != nil {
		p.admin.Close()
		return fmt.Errorf("sync listener: %w", err)
	}
	return nil
}

// AdminAddr and SyncAddr are the bound addresses; only after Boot. SyncAddr is nil without one.
func (p *Plane) AdminAddr() net.Addr { return p.admin.Addr() }

// SyncAddr is where data planes connect.
func (p *Plane) SyncAddr() net.Addr {
	if p.sync == nil {
		return nil
	}
	return p.sync.Addr()
}

// Local dials the sync service inside this process.
func (p *Plane) Local(ctx context.Context) (net.Conn, error) { return p.local.DialContext(ctx) }

// Ready returns nil once the view of the store is complete.
func (p *Plane) Ready() error {
	select {
	case <-p.views.Ready():
		return nil
	default:
		return errors.New("the config isn't loaded from the store yet")
	}
}

// WaitReady returns when Ready does, or with ctx's error.
func (p *Plane) WaitReady(ctx context.Context) error {
	select {
	case <-p.views.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run serves until ctx ends and returns when everything has ended. Boot comes first.
func (p *Plane) Run(ctx context.Context) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	leading, rest := context.WithCancel(base)
	defer rest()
	failed := make(chan error, 8)
	var rooms sync.WaitGroup
	room := func(run func() error) {
		rooms.Go(func() {
			if err := run(); err != nil {
				failed <- err
			}
		})
	}
	room(func() error { return p.views.Run(base) })
	room(func() error { return p.api.Run(base) })
	room(func() error { return p.replicas.Run(base) })
	room(func() error { return p.rotate(base) })
	room(func() error { return p.lead(leading) })
	room(func() error { return p.shutOut(base) })
	room(func() error { return p.stream.Watch(base) })
	room(func() error { return p.shareOut(base) })
	room(func() error { return p.serveSync(base, p.local) })
	if p.sync != nil {
		room(func() error { return p.serveSync(base, p.sync) })
	}
	room(p.serveAdmin)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	rest() // before data planes are sent away: nobody is to miss them
	p.drain(ctx)
	stop()
	rooms.Wait()
	return errors.Join(err, p.cfg.Store.Close())
}

// shareOut hands out shares of limits, once it is known how many control planes do.
func (p *Plane) shareOut(ctx context.Context) error {
	p.replicas.Wait(ctx) //nolint:errcheck // only when ctx has ended, which ends Run as well
	return p.shares.Run(ctx)
}

// serveSync takes streams of data planes, once it is known which part of all shares is this control plane's to give.
func (p *Plane) serveSync(ctx context.Context, l net.Listener) error {
	if p.replicas.Wait(ctx) != nil {
		return l.Close()
	}
	p.shares.Round() // takes in the number before the first stream
	return p.grpc.Serve(l)
}

func (p *Plane) serveAdmin() error {
	var err error
	if p.cfg.AdminTLS != nil {
		err = p.http.ServeTLS(p.admin, "", "")
	} else {
		err = p.http.Serve(p.admin)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// drain sends data planes elsewhere and lets calls finish.
func (p *Plane) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := p.stream.Drain(ctx); err != nil {
		p.cfg.Log.Warn("streams to data planes were cut", "error", err)
	}
	p.grpc.Stop()
	if err := p.http.Shutdown(ctx); err != nil {
		p.http.Close() //nolint:errcheck // nothing is left to do about it
	}
}
