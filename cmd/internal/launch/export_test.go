package launch

import "time"

// At sets the clock of certificates.
func (c *Control) At(now func() time.Time) *Control { c.now = now; return c }

// At sets the clock of the certificate.
func (p *Proxy) At(now func() time.Time) *Proxy { p.now = now; return p }
