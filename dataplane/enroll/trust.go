package enroll

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync/atomic"
)

// succeeds makes an identity the next one of before, or says what is wrong with it: it stands elsewhere. From a relay nothing is taken about whom
// to trust, or one that fell into wrong hands would be trusted for ever.
func (id *identity) succeeds(before *identity, relay bool) error {
	if id.region != before.region || id.group != before.group {
		return fmt.Errorf("the certificate that came is for region %q, group %q, and the one before is for region %q, group %q; to move, join with another token",
			id.region, id.group, before.region, before.group)
	}
	if relay {
		id.authorities = before.authorities
	}
	return nil
}

// proven says why the certificate doesn't lead to who is trusted, whatever the time is here.
func (id *identity) proven() error {
	between := x509.NewCertPool()
	for _, der := range id.chain[1:] {
		if ca, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(ca)
		}
	}
	_, err := id.leaf.Verify(x509.VerifyOptions{Roots: id.pool(), Intermediates: between, CurrentTime: id.leaf.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("the certificate that came: %w", err)
	}
	return nil
}

// relayed says whether a relay signed the certificate at the beginning of a chain.
func relayed(chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		if slices.ContainsFunc(chain[1:len(chain)-1], func(c *x509.Certificate) bool { _, ok := relayOf(c); return ok }) {
			return true
		}
	}
	return false
}

// noting is cfg that notes whether who is at the other end is a relay.
func noting(cfg *tls.Config, relay *atomic.Bool) *tls.Config {
	cfg, check := cfg.Clone(), cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		relay.Store(relayed(s.VerifiedChains))
		return check(s)
	}
	return cfg
}
