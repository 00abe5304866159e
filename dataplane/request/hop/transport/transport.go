// Package transport is the HTTP/1.1 client of the upstream leg, written for one job: one request, one answer or event stream, as fast
// and as strictly as possible.
//
// It promises:
//   - One connection has one owner and carries one request at a time. An idle connection costs no goroutine; it is looked at
//     (MSG_PEEK) before it is used again.
//   - A request is never sent twice. Only when a kept connection turns out dead before its first byte left is it replaced, once. Bytes
//     sent and no answer is a fault of kind reset. Unsent tells whether none left.
//   - Every failure is a *fault.Error of hop upstream with its phase (dns, connect, tls, headers, body, stream); its Message and Hint
//     hold no address and no peer text, Server is left for the caller to set. When the caller's context ends the call, the error is no
//     fault: errors.Is(err, context.Canceled) or context.DeadlineExceeded holds and fault.As(err) is nil.
//   - A context that ends stops any step within about a millisecond and the connection isn't used again.
//   - What it keeps in memory is bounded by the limits given, whatever the peer sends.
//
// It refuses: redirects (the status is returned), proxies from the environment, HTTP/2, upgrades (101), obsolete line folding, a head
// above 64 KiB or 128 fields, contradicting or repeated framing (RFC 9112 section 6.3), transfer codings other than chunked, content
// codings (nothing here ever asks for one), and a body that ends before its length or its last chunk.
package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Defaults of Config.
const (
	DefaultMaxIdlePerTarget = 256
	DefaultIdleTimeout      = 90 * time.Second
)

// Resolver turns a host name into addresses; *net.Resolver is one. A name that doesn't exist is a *net.DNSError with IsNotFound.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says how connections are made and kept. The zero value works.
type Config struct {
	// MaxIdlePerTarget bounds the idle connections kept per Target.Key; more are closed. Default 256.
	MaxIdlePerTarget int
	// IdleTimeout closes connections that nobody used for so long. Default 90 s.
	IdleTimeout time.Duration
	// Resolver resolves host names. Default net.DefaultResolver.
	Resolver Resolver
	// DialContext opens TCP connections; addr is an IP address and port. Default: a net.Dialer with TCP keep-alive.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client sends requests to upstreams. Its methods may be called from many goroutines.
type Client struct {
	cfg Config // read-only after New

	mu     sync.RWMutex
	pools  map[string]*pool // guarded by mu; by Target.Key
	closed bool             // guarded by mu
}

// New returns a client. It opens nothing.
func New(cfg Config) (*Client, error) {
	if cfg.MaxIdlePerTarget < 0 {
		return nil, fmt.Errorf("transport: MaxIdlePerTarget is %d; use 0 for the default of %d, or a positive number", cfg.MaxIdlePerTarget, DefaultMaxIdlePerTarget)
	}
	if cfg.IdleTimeout < 0 {
		return nil, fmt.Errorf("transport: IdleTimeout is %v; use 0 for the default of %v, or a positive duration", cfg.IdleTimeout, DefaultIdleTimeout)
	}
	if cfg.MaxIdlePerTarget == 0 {
		cfg.MaxIdlePerTarget = DefaultMaxIdlePerTarget
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = DefaultIdleTimeout
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{}).DialContext
	}
	return &Client{cfg: cfg, pools: make(map[string]*pool)}, nil
}

// Run closes connections that have been idle for too long and forgets targets without any, until ctx ends. Without Run the age of a
// connection is checked only when its target is used.
func (c *Client) Run(ctx context.Context) error {
	tick := time.NewTicker(max(c.cfg.IdleTimeout/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			c.sweep(now)
		}
	}
}

// Close closes all idle connections and keeps none from now on. Calls under way end as they would have.
func (c *Client) Close() {
	c.mu.Lock()
	pools := c.pools
	c.pools, c.closed = make(map[string]*pool), true
	c.mu.Unlock()
	for _, p := range pools {
		p.retire()
	}
}

// Do sends r to t and returns when the head of the answer is read. The Response must be closed exactly when the caller is done with
// it; tm is cleared first, filled until then and must outlive it (nil: nothing is measured). r and its slices are not kept after Do returns.
//
// Time limits: Connect covers name resolution, TCP and TLS; FirstByte runs from the last byte sent until the head is complete; Idle
// bounds each wait for a part of the body, and each wait of 256 KiB of a large request body; Total covers everything from Do to the
// last byte. Zero is no limit; with r.Stream Idle and Total don't apply. ctx ends the call at any step, also while the body is read.
func (c *Client) Do(ctx context.Context, t *table.Target, r *Request, tm *telemetry.Timing) (*Response, error) {
	if tm == nil {
		tm = new(telemetry.Timing)
	}
	*tm = telemetry.Timing{Start: time.Now()}
	res := newResponse(ctx, r, tm)
	err := res.begin(c, t, r)
	if err == nil {
		return res, nil
	}
	tm.End = time.Now()
	return nil, err
}

// begin sends the request and reads the head of the answer.
func (r *Response) begin(c *Client, t *table.Target, req *Request) error {
	if err := req.check(t); err != nil {
		return err
	}
	if r.ctx.Err() != nil {
		return gone(r.ctx, fault.Connect)
	}
	p := c.pool(t)
	if err := r.deliver(p, t, req); err != nil {
		r.drop()
		return err
	}
	if err := r.readHead(); err != nil {
		r.drop()
		return err
	}
	return nil
}

// deliver gets the request out. A kept connection that dies before it took the first byte is replaced by a new one, once. A later
// failure to write is remembered, not returned: the peer may have answered and hung up (413), and the answer tells more.
func (r *Response) deliver(p *pool, t *table.Target, req *Request) error {
	c := p.get(r.tm.Start)
	for {
		if c == nil {
			var err error
			if c, err = r.open(p, t, &req.Timeouts); err != nil {
				return unsent(err)
			}
		} else {
			r.tm.Reused, r.tm.Remote = true, c.remote
		}
		r.attach(p, c)
		n, err := r.send(t, req)
		if err == nil {
			return nil
		}
		if n > 0 || !r.tm.Reused || r.ours(err) {
			return r.sendFailed(n, err)
		}
		r.drop()
		c, r.tm.Reused = nil, false
	}
}

// ours reports whether a write failed because we ended it, not because the connection was dead.
func (r *Response) ours(err error) bool { return r.ctx.Err() != nil || errors.Is(err, errDeadline) }
