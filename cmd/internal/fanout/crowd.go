package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// openRate is how many streams a second are opened at first; the control plane takes 500.
const openRate = 450

// crowd is the data planes of this process.
type crowd struct {
	ca     *authority
	ctx    context.Context
	wg     sync.WaitGroup
	health time.Duration // between two reports of one plane

	size       int
	synced     atomic.Int64 // planes that hold what their control plane wants
	lost       atomic.Int64 // streams that ended
	mismatched atomic.Int64
	updates    atomic.Int64 // updates that came
	full       atomic.Int64 // those that were the whole set
	payload    atomic.Int64 // bytes of updates
	wire       atomic.Int64 // bytes read from all sockets

	mu    sync.Mutex
	came  map[int64]*arrivals             // by revision; guarded by mu
	known map[confset.Digest]*confset.Set // guarded by mu

	newest held // guarded by mu
}

// arrivals are the answers to one revision.
type arrivals struct {
	n, want int
	done    chan struct{} // closed with the last one
}

func newCrowd(ctx context.Context, ca *authority) *crowd {
	return &crowd{ca: ca, ctx: ctx, health: time.Minute, came: map[int64]*arrivals{}, known: map[confset.Digest]*confset.Set{}}
}

// grow opens streams until there are n, with what every one of them holds from the start.
func (c *crowd) grow(n int, h held) error {
	tick := time.NewTicker(time.Second / openRate)
	defer tick.Stop()
	for ; c.size < n; c.size++ {
		name := fmt.Sprintf("n%05d", c.size)
		cfg, err := c.ca.client(name)
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		p := newPlane(c, name, cfg, c.dialer(c.size), h)
		c.wg.Go(func() { p.run(c.ctx) })
	}
	return nil
}

// dialer dials from an address that a hundred data planes share, so that ports last.
func (c *crowd) dialer(i int) func(context.Context) (net.Conn, error) {
	d := &net.Dialer{KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 84, byte(i/100/250), byte(1+i/100%250))}}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", syncAddr)
		if err != nil {
			return nil, err
		}
		return &counted{conn, &c.wire}, nil
	}
}

// counted counts what is read.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// count notes a part of an update.
func (c *crowd) count(u *syncv1.Update) {
	c.payload.Add(int64(proto.Size(u)))
	if !u.GetMore() {
		c.updates.Add(1)
	}
	if u.GetFull() && !u.GetMore() {
		c.full.Add(1)
	}
}

// intern returns what is held with the first set of that content, so that equal ones are kept once.
func (c *crowd) intern(h held) held {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, ok := c.known[h.set.Digest()]; ok {
		h.set = first
	} else {
		if len(c.known) > 8 {
			clear(c.known)
		}
		c.known[h.set.Digest()] = h.set
	}
	if h.epoch != c.newest.epoch || h.revision > c.newest.revision {
		c.newest = h
	}
	return h
}

// arrival returns who answered a revision.
func (c *crowd) arrival(revision int64) *arrivals {
	a := c.came[revision]
	if a == nil {
		a = &arrivals{done: make(chan struct{})}
		c.came[revision] = a
	}
	return a
}

// answered notes that one plane has answered a revision.
func (c *crowd) answered(revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.arrival(revision)
	if a.n++; a.n == a.want {
		close(a.done)
	}
}

// all waits until every plane has answered a revision.
func (c *crowd) all(ctx context.Context, revision int64) error {
	c.mu.Lock()
	a := c.arrival(revision)
	if a.want = c.size; a.n >= a.want {
		close(a.done)
	}
	c.mu.Unlock()
	t := time.NewTimer(60 * time.Second)
	defer t.Stop()
	select {
	case <-a.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.came, revision)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("not all data planes answered revision %d within a minute", revision)
	}
}

// settle waits until so many planes hold what is wanted.
func (c *crowd) settle(n int, within time.Duration) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(within)
	defer late.Stop()
	for c.synced.Load() < int64(n) {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-late.C:
			return fmt.Errorf("%d of %d data planes are in sync after %s", c.synced.Load(), n, within)
		}
	}
	return nil
}

// fetch gets the whole config at a revision, as a data plane of its own that goes again.
func fetch(ctx context.Context, ca *authority, revision int64) (held, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	c := newCrowd(ctx, ca)
	c.size = 1
	cfg, err := ca.client("first")
	if err != nil {
		return held{}, err
	}
	p := newPlane(c, "first", cfg, c.dialer(0), held{set: confset.Empty()})
	c.wg.Go(func() { p.run(ctx) })
	err = c.all(ctx, revision)
	cancel()
	c.wg.Wait()
	return p.held, err
}
