package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	fallbackDelay = 250 * time.Millisecond // head start of the first address family (RFC 8305 section 5)
	leastAttempt  = 2 * time.Second        // what one of several addresses gets at least, if the limit allows
)

var errNoAddress = errors.New("transport: the resolver returned no address")

// dialer opens TCP connections.
type dialer struct {
	resolver Resolver
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

// open makes a new connection for this call, within the connect limit; errors are faults, or the end of the caller's context.
func (r *Response) open(p *pool, t *table.Target, limits *table.Timeouts) (*conn, error) {
	ctx := r.ctx
	if by := r.by(time.Now(), limits.Connect); !by.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by)
		defer cancel()
	}
	addrs, err := r.resolve(ctx, p, t)
	if err != nil {
		return nil, err
	}
	r.tm.ConnStart = time.Now()
	nc, err := p.dial.any(ctx, addrs, t.Port)
	r.tm.ConnDone = time.Now()
	if err != nil {
		return nil, r.unopened(err, connectFault)
	}
	c := newConn(nc)
	r.tm.Remote = c.remote
	if p.tls == nil {
		return c, nil
	}
	if err := r.handshake(ctx, c, p.tls); err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

func (r *Response) handshake(ctx context.Context, c *conn, cfg *tls.Config) error {
	r.tm.TLSStart = time.Now()
	err := c.secure(cfg).HandshakeContext(ctx)
	r.tm.TLSDone = time.Now()
	if err != nil {
		return r.unopened(err, tlsFault)
	}
	return nil
}

// resolve returns the target's addresses.
func (r *Response) resolve(ctx context.Context, p *pool, t *table.Target) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(t.Hostname); err == nil {
		return []netip.Addr{a}, nil
	}
	r.tm.DNSStart = time.Now()
	addrs, err := p.dial.resolver.LookupNetIP(ctx, "ip", t.Hostname)
	r.tm.DNSDone = time.Now()
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, r.unopened(err, dnsFault)
	}
	return addrs, nil
}

// unopened tells the caller's end, the total limit and a fault of the step apart.
func (r *Response) unopened(err error, step func(error) *fault.Error) error {
	if r.ctx.Err() != nil {
		return gone(r.ctx, step(err).Phase)
	}
	f := step(err)
	if f.Kind == fault.TimedOut {
		return r.timedOut(f.Phase, err, f.Message, f.Hint)
	}
	return f
}

// any connects to one of addrs. The family of the first address has a head start; within a family they are tried in order.
func (d *dialer) any(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, error) {
	first, second := families(addrs)
	if len(second) == 0 {
		return d.each(ctx, first, port)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, 2)
	try := func(addrs []netip.Addr) {
		nc, err := d.each(ctx, addrs, port)
		results <- dialed{nc, err}
	}
	go try(first)
	delay := time.NewTimer(fallbackDelay)
	defer delay.Stop()
	select {
	case one := <-results:
		if one.err == nil || ctx.Err() != nil {
			return one.nc, one.err
		}
		go try(second)
		return better(one, <-results)
	case <-delay.C:
		go try(second)
	}
	one := <-results
	if one.err == nil {
		cancel() // the slower one ends at once, and is waited for
	}
	return better(one, <-results)
}

// dialed is what one family came to.
type dialed struct {
	nc  net.Conn
	err error
}

// better keeps one connection, or the failure that says more.
func better(a, b dialed) (net.Conn, error) {
	switch {
	case a.err == nil && b.err == nil:
		_ = b.nc.Close()
		return a.nc, nil
	case a.err == nil:
		return a.nc, nil
	case b.err == nil:
		return b.nc, nil
	case rank(b.err) > rank(a.err):
		return nil, b.err
	}
	return nil, a.err
}

// families splits addresses into those of the first one's family and the others.
func families(addrs []netip.Addr) (first, second []netip.Addr) {
	for _, a := range addrs {
		a = a.Unmap()
		if a.Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	return first, second
}

// each tries addresses in order; each gets its share of the time that is left.
func (d *dialer) each(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, error) {
	var worst dialed
	for i, a := range addrs {
		nc, err := d.one(ctx, a, port, len(addrs)-i)
		if err == nil {
			return nc, nil
		}
		if worst.err == nil || rank(err) > rank(worst.err) {
			worst.err = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, worst.err
}

func (d *dialer) one(ctx context.Context, a netip.Addr, port, left int) (net.Conn, error) {
	if by, ok := ctx.Deadline(); ok && left > 1 {
		share := max(time.Until(by)/time.Duration(left), leastAttempt)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	return d.dial(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(port)))
}
