package transport

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// pool keeps the idle connections of one Target.Key, the latest used last.
type pool struct {
	max     int           // read-only
	timeout time.Duration // read-only
	tls     *tls.Config   // read-only; nil for plain HTTP
	dial    dialer        // read-only

	mu      sync.Mutex
	idle    []*conn   // guarded by mu
	retired bool      // guarded by mu; nothing is kept any more
	used    time.Time // guarded by mu; last get or put
}

// pool returns the pool of t, making it at the first use.
func (c *Client) pool(t *table.Target) *pool {
	c.mu.RLock()
	p := c.pools[t.Key]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.pools[t.Key]; p != nil {
		return p
	}
	p = &pool{
		max: c.cfg.MaxIdlePerTarget, timeout: c.cfg.IdleTimeout, tls: tlsConfig(t),
		dial:    dialer{resolver: c.cfg.Resolver, dial: c.cfg.DialContext},
		retired: c.closed, used: time.Now(),
	}
	if !c.closed {
		c.pools[t.Key] = p
	}
	return p
}

// tlsConfig makes the target's settings ours: HTTP/1.1 only, the target's name checked, sessions resumed.
func tlsConfig(t *table.Target) *tls.Config {
	if t.TLS == nil {
		return nil
	}
	cfg := t.TLS.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ServerName == "" {
		cfg.ServerName = t.Hostname
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	return cfg
}

// get takes the latest used connection that is still good, or nil.
func (p *pool) get(now time.Time) *conn {
	for {
		c := p.pop(now)
		if c == nil {
			return nil
		}
		if now.Sub(c.idleSince) < p.timeout && c.alive() {
			return c
		}
		c.close()
	}
}

func (p *pool) pop(now time.Time) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = now
	k := len(p.idle) - 1
	if k < 0 {
		return nil
	}
	c := p.idle[k]
	p.idle[k], p.idle = nil, p.idle[:k]
	return c
}

// put keeps a connection for the next call, or closes it when there are enough.
func (p *pool) put(c *conn, now time.Time) {
	c.rest(now)
	p.mu.Lock()
	p.used = now
	kept := !p.retired && len(p.idle) < p.max
	if kept {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !kept {
		c.close()
	}
}

// expire takes out the connections that have been idle for too long; empty reports that nobody has used the pool for as long.
func (p *pool) expire(now time.Time) (old []*conn, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) >= p.timeout {
		n++
	}
	old = append(old, p.idle[:n]...)
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	empty = rest == 0 && now.Sub(p.used) >= p.timeout
	return old, empty
}

// retire closes what is idle and makes put close what still comes back.
func (p *pool) retire() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.retired = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// sweep closes old connections of all targets and forgets the targets nobody used since.
func (c *Client) sweep(now time.Time) {
	c.mu.RLock()
	pools := make(map[string]*pool, len(c.pools))
	for key, p := range c.pools {
		pools[key] = p
	}
	c.mu.RUnlock()
	for key, p := range pools {
		old, empty := p.expire(now)
		for _, conn := range old {
			conn.close()
		}
		if empty {
			c.forget(key, p)
		}
	}
}

func (c *Client) forget(key string, p *pool) {
	c.mu.Lock()
	if c.pools[key] == p {
		delete(c.pools, key)
	}
	c.mu.Unlock()
	p.retire()
}
