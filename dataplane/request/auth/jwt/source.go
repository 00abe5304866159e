package jwt

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// source is where the keys of one issuer come from, and what came.
type source struct {
	name, issuer, jwks string // read-only
	tls                *tls.Config
	keys               atomic.Pointer[keySet] // nil: none came yet

	mu      sync.Mutex
	flight  chan struct{} // guarded by mu; closed when the fetch under way ends
	tried   time.Time     // guarded by mu; when the last fetch began
	due     time.Time     // guarded by mu; when the next is due without anybody asking
	failure error         // guarded by mu; of the last fetch
}

// page is a source as one version of an issuer's configuration sees it.
type page struct {
	provider *table.IdentityProvider
	source   *source
}

// book holds the sources by issuer. Reading takes no lock.
type book struct {
	pages atomic.Pointer[map[string]page]
	mu    sync.Mutex // held by writers
}

// keysOf returns the keys of the provider; nil if there are none, or if they were fetched for another version of its configuration.
func (b *book) keysOf(p *table.IdentityProvider) *keySet {
	if pages := b.pages.Load(); pages != nil {
		if e := (*pages)[p.Issuer]; e.provider == p {
			return e.source.keys.Load()
		}
	}
	return nil
}

// source returns where the provider's keys come from. A changed configuration keeps the keys if they would be fetched in the same way.
func (b *book) source(p *table.IdentityProvider) *source {
	if pages := b.pages.Load(); pages != nil {
		if e := (*pages)[p.Issuer]; e.provider == p {
			return e.source
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[string]page{}
	if pages := b.pages.Load(); pages != nil {
		for issuer, e := range *pages {
			next[issuer] = e
		}
	}
	e := next[p.Issuer]
	if e.provider != p {
		if e.source == nil || !e.source.serves(p) {
			e.source = &source{name: p.Name, issuer: p.Issuer, jwks: p.JWKS, tls: p.TLS}
		}
		e.provider = p
		next[p.Issuer] = e
		b.pages.Store(&next)
	}
	return e.source
}

// keep forgets issuers that aren't in the list.
func (b *book) keep(list []*table.IdentityProvider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pages := b.pages.Load()
	if pages == nil {
		return
	}
	next := map[string]page{}
	for _, p := range list {
		if e, ok := (*pages)[p.Issuer]; ok {
			next[p.Issuer] = e
		}
	}
	if len(next) != len(*pages) {
		b.pages.Store(&next)
	}
}

func (s *source) serves(p *table.IdentityProvider) bool {
	return s.name == p.Name && s.jwks == p.JWKS && sameTLS(s.tls, p.TLS)
}

// sameTLS compares what a table sets. Settings with anything else never equal others.
func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return a.ServerName == b.ServerName && a.MinVersion == b.MinVersion && !a.InsecureSkipVerify && !b.InsecureSkipVerify &&
		len(a.Certificates)+len(b.Certificates) == 0 && (a.RootCAs == b.RootCAs || a.RootCAs != nil && b.RootCAs != nil && a.RootCAs.Equal(b.RootCAs))
}

// signedBy checks the signature and returns the keys it was checked with. A key that isn't known is asked for, once in 10 s.
func (t *Tokens) signedBy(ctx context.Context, u *token) (*keySet, error) {
	s := t.book.source(u.provider)
	keys := s.keys.Load()
	if keys != nil && u.signedWithOne(keys) {
		return keys, nil
	}
	if keys == nil || len(keys.fitting(u.header)) == 0 || u.header.keyID == "" {
		wait, err := t.refetch(ctx, s)
		newer := s.keys.Load()
		if newer == nil || err != nil && len(newer.fitting(u.header)) == 0 {
			return nil, unavailable(err, wait)
		}
		if newer != keys && u.signedWithOne(newer) {
			return newer, nil
		}
		keys = newer
	}
	if len(keys.fitting(u.header)) == 0 {
		return nil, misconfigured("no key that its issuer publishes fits it (kid and alg)",
			"get a new token: the issuer may have changed its keys; the operator may compare the token's kid with the issuer's key set")
	}
	return nil, unsound("its signature doesn't fit the issuer's key", nil)
}

func (u *token) signedWithOne(keys *keySet) bool {
	for _, k := range keys.fitting(u.header) {
		if u.verified(k) {
			return true
		}
	}
	return false
}

// refetch gets the source's keys anew, or waits for whoever does; not if that was tried within 10 s. It returns the last failure, and how
// long it takes until trying again makes sense.
func (t *Tokens) refetch(ctx context.Context, s *source) (time.Duration, error) {
	s.mu.Lock()
	if s.flight == nil {
		age := t.cfg.Now().Sub(s.tried)
		if !s.tried.IsZero() && age >= 0 && age < refetchEvery || !t.startLocked(s) {
			defer s.mu.Unlock()
			return refetchEvery - age, s.failure
		}
	}
	flight := s.flight
	s.mu.Unlock()
	limit := time.NewTimer(waitAtMost)
	defer limit.Stop()
	select {
	case <-flight:
		s.mu.Lock()
		defer s.mu.Unlock()
		return refetchEvery, s.failure
	case <-ctx.Done():
		return time.Second, ctx.Err()
	case <-limit.C:
		return time.Second, context.DeadlineExceeded
	}
}

// startLocked begins a fetch; s.mu is held and s.flight nil. It is false when Run has ended.
func (t *Tokens) startLocked(s *source) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	flight := make(chan struct{})
	s.flight, s.tried = flight, t.cfg.Now()
	t.busy.Go(func() {
		defer close(flight)
		t.fetch(s)
	})
	return true
}

// fetch replaces the source's keys, or keeps them and notes why.
func (t *Tokens) fetch(s *source) {
	ctx, cancel := context.WithTimeout(t.base, waitAtMost)
	defer cancel()
	body, err := t.download(ctx, s)
	var keys []key
	if err == nil {
		keys, err = parseKeys(body)
		err = named("the key set", err)
	}
	before := s.keys.Load()
	if err == nil && (before == nil || before.body != string(body)) {
		s.keys.Store(&keySet{generation: generation.Add(1), body: string(body), keys: keys})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	recovered := s.failure != nil
	s.flight, s.failure = nil, err
	if err != nil {
		s.due = t.cfg.Now().Add(jittered(retryEvery))
		if !recovered {
			t.cfg.Log.Warn("identity provider: keys couldn't be fetched", slog.String("provider", s.name), slog.Bool("keys_kept", before != nil), slog.Any("error", err))
		}
		return
	}
	s.due = t.cfg.Now().Add(jittered(refreshEvery))
	if recovered || before == nil {
		t.cfg.Log.Info("identity provider: keys fetched", slog.String("provider", s.name), slog.Int("keys", len(keys)))
	}
}

var generation atomic.Uint64

// jittered is d, give or take a tenth.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }

// refresh begins every fetch that is due.
func (t *Tokens) refresh() {
	if t.cfg.Issuers != nil {
		list := t.cfg.Issuers().Providers()
		t.book.keep(list)
		for _, p := range list {
			t.book.source(p)
		}
	}
	pages := t.book.pages.Load()
	if pages == nil {
		return
	}
	now := t.cfg.Now()
	for _, e := range *pages {
		e.source.mu.Lock()
		if e.source.flight == nil && !now.Before(e.source.due) {
			t.startLocked(e.source)
		}
		e.source.mu.Unlock()
	}
}
