package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// maxSites bounds a lab.
const maxSites = 32

// Lab is a set of sites with a link between every two of them. Its methods may be called by several goroutines.
type Lab struct {
	sites  map[string]*Site
	wires  map[[2]string]*wire // from, to
	cancel context.CancelFunc
	run    sync.WaitGroup
	close  func() error
}

// New makes the sites, 1 to 32 with names of their own, all linked with the zero Conditions. The lab works until it is closed.
func New(sites ...string) (*Lab, error) {
	if len(sites) == 0 || len(sites) > maxSites {
		return nil, fmt.Errorf("netlab: %d sites: there must be 1 to %d", len(sites), maxSites)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Lab{sites: map[string]*Site{}, wires: map[[2]string]*wire{}, cancel: cancel}
	l.close = sync.OnceValue(l.end)
	for i, name := range sites {
		if l.sites[name] != nil {
			return nil, errors.Join(fmt.Errorf("netlab: site %q: there are two of that name", name), l.Close())
		}
		s, err := newSite(name, netip.AddrFrom4([4]byte{10, 83, 0, byte(i + 1)}))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("netlab: site %q: %w", name, err), l.Close())
		}
		l.sites[name] = s
	}
	l.connect(ctx)
	return l, nil
}

// connect makes the wires and starts everything.
func (l *Lab) connect(ctx context.Context) {
	for from := range l.sites {
		for to, s := range l.sites {
			if from != to {
				w := newWire(s.tunnel)
				l.wires[[2]string{from, to}] = w
				l.run.Go(func() { w.run(ctx) })
			}
		}
	}
	for _, s := range l.sites {
		l.run.Go(func() { l.read(s) })
	}
}

// read hands the packets that a site sends to the wires, until the site's tunnel is closed.
func (l *Lab) read(from *Site) {
	ways := map[netip.Addr]*wire{}
	for name, s := range l.sites {
		if s != from {
			ways[s.address] = l.wires[[2]string{from.name, name}]
		}
	}
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.tunnel.Read(buffer)
		if err != nil {
			return
		}
		if to, ok := destination(buffer[:n]); ok && ways[to] != nil {
			ways[to].push(append([]byte(nil), buffer[:n]...))
		}
	}
}

// destination is where an IPv4 packet wants to go.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// Site returns a site by its name; nil when there is none.
func (l *Lab) Site(name string) *Site { return l.sites[name] }

// Link sets the conditions between two sites, for packets sent from now on. It neither cuts the link nor heals it.
func (l *Lab) Link(a, b string, c Conditions) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("netlab: link %s-%s: %w", a, b, err)
	}
	return l.both(a, b, func(w *wire) { w.set(c) })
}

// Cut stops everything between two sites, also what is on its way. Nobody is told: packets vanish.
func (l *Lab) Cut(a, b string) error { return l.both(a, b, func(w *wire) { w.sever(true) }) }

// Heal undoes Cut. The link's conditions are those set last.
func (l *Lab) Heal(a, b string) error { return l.both(a, b, func(w *wire) { w.sever(false) }) }

// Isolate cuts all links of a site.
func (l *Lab) Isolate(site string) error { return l.all(site, l.Cut) }

// Rejoin heals all links of a site.
func (l *Lab) Rejoin(site string) error { return l.all(site, l.Heal) }

// Traffic says what the direction from one site to the other has done; zero for sites that don't exist.
func (l *Lab) Traffic(from, to string) Traffic {
	w := l.wires[[2]string{from, to}]
	if w == nil {
		return Traffic{}
	}
	return w.traffic()
}

func (l *Lab) both(a, b string, do func(*wire)) error {
	there, back := l.wires[[2]string{a, b}], l.wires[[2]string{b, a}]
	if there == nil || back == nil {
		return fmt.Errorf("netlab: link %s-%s: there is none; a link joins two different sites of the lab", a, b)
	}
	do(there)
	do(back)
	return nil
}

func (l *Lab) all(site string, do func(a, b string) error) error {
	if l.sites[site] == nil {
		return fmt.Errorf("netlab: site %q: there is none of that name", site)
	}
	for other := range l.sites {
		if other == site {
			continue
		}
		if err := do(site, other); err != nil {
			return err
		}
	}
	return nil
}

// Close takes the lab down and returns when nothing of it runs. Programs inside a site go on without links; end them first. It may be called
// again.
func (l *Lab) Close() error { return l.close() }

func (l *Lab) end() error {
	l.cancel()
	var errs []error
	for _, s := range l.sites {
		errs = append(errs, s.close())
	}
	l.run.Wait()
	return errors.Join(errs...)
}
