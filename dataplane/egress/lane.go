package egress

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	mostLanes   = 64
	idlePerHost = 16
	connsPer    = 128 // to one host; further requests wait for one
	idleTimeout = 30 * time.Second
)

// laneKey tells apart what may share connections.
type laneKey struct {
	tls      *tls.Config
	stranger bool
}

// lane is the connections made under one key.
type lane struct {
	client *http.Client
	kept   *http.Transport
	used   uint64 // guarded by Client.mu
}

// lane returns the connections for r; the one not used for longest makes room for a new one.
func (c *Client) lane(r *Request) *lane {
	k := laneKey{r.TLS, r.Stranger}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	l := c.lanes[k]
	if l == nil {
		if len(c.lanes) >= mostLanes {
			c.evictLocked()
		}
		l = c.newLane(k)
		c.lanes[k] = l
	}
	l.used = c.clock
	return l
}

func (c *Client) evictLocked() {
	var oldest laneKey
	least := c.clock
	for k, l := range c.lanes {
		if l.used < least {
			oldest, least = k, l.used
		}
	}
	if l := c.lanes[oldest]; l != nil {
		l.retire()
		delete(c.lanes, oldest)
	}
}

func (c *Client) newLane(k laneKey) *lane {
	d := &dialer{client: c, tls: secure(k.tls), stranger: k.stranger}
	kept := &http.Transport{
		DialContext:            d.plain,
		DialTLSContext:         d.secure,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxConnsPerHost:        connsPer,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: headLimit,
	}
	return &lane{kept: kept, client: &http.Client{Transport: kept, CheckRedirect: stay}}
}

// stay makes a redirect the answer.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// retire closes idle connections and those in use as soon as they are idle.
func (l *lane) retire() { l.kept.CloseIdleConnections() }

// secure is a copy of cfg for HTTP/1.1 over TLS 1.2 or newer.
func secure(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

// dialer opens the connections of one lane.
type dialer struct {
	client   *Client
	tls      *tls.Config
	stranger bool
}

const connectTimeout = 5 * time.Second

// plain opens a TCP connection; errors are faults.
func (d *dialer) plain(ctx context.Context, _, addr string) (net.Conn, error) {
	if !d.client.begin() {
		return nil, internal(errClosed)
	}
	defer d.client.busy.Done()
	ctx, stop := d.bounded(ctx)
	defer stop()
	return d.open(ctx, addr)
}

// secure opens a TLS connection; errors are faults.
func (d *dialer) secure(ctx context.Context, _, addr string) (net.Conn, error) {
	if !d.client.begin() {
		return nil, internal(errClosed)
	}
	defer d.client.busy.Done()
	ctx, stop := d.bounded(ctx)
	defer stop()
	nc, err := d.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	at(ctx, stepTLS)
	cfg := d.tls
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			_ = nc.Close()
			return nil, internal(err)
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, tlsFault(err)
	}
	return tc, nil
}

// bounded gives a dial its own end: net/http detaches it from the request, so that another one can have the connection.
func (d *dialer) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	release := context.AfterFunc(d.client.base, cancel)
	return ctx, func() { release(); cancel() }
}
