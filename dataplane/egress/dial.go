package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"
)

var errNoAddress = errors.New("egress: the resolver returned no address")

// leastAttempt is what one of several addresses gets, if the limit allows.
const leastAttempt = time.Second

// open connects to one of the addresses of addr; for strangers only if all of them may be reached. Errors are faults.
func (d *dialer) open(ctx context.Context, addr string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, internal(err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, unusable(d.stranger)
	}
	at(ctx, stepDNS)
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, dnsFault(err)
	}
	if d.stranger {
		for _, a := range addrs {
			if !public(a) && !d.client.cfg.Allow.Contains(a) {
				return nil, notPublic()
			}
		}
	}
	at(ctx, stepConnect)
	nc, err := d.any(ctx, addrs, port)
	if err != nil {
		return nil, connectFault(err)
	}
	return nc, nil
}

func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.client.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	return addrs, err
}

// any tries the addresses in order, each with its share of the time that is left. The failure that says most about the peer wins.
func (d *dialer) any(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, error) {
	var worst error
	for i, a := range addrs {
		nc, err := d.one(ctx, netip.AddrPortFrom(a.Unmap(), uint16(port)), len(addrs)-i)
		if err == nil {
			return nc, nil
		}
		if worst == nil || rank(err) > rank(worst) {
			worst = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, worst
}

func (d *dialer) one(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if by, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(by)/time.Duration(left), leastAttempt))
		defer cancel()
	}
	return d.client.cfg.DialContext(ctx, "tcp", to.String())
}
