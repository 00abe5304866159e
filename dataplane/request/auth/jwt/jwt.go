// Package jwt decides whether a JWT admits its bearer, and as whom.
//
// It promises:
//   - A token is believed only if its issuer is one of the table's, its audience one of that issuer's, its times fit, and its signature was
//     made with a key the issuer publishes now, by an asymmetric algorithm that both the issuer and the key allow. Every check that fails is
//     a refusal; what can't be read is a refusal; there is no identity for a token that wasn't verified.
//   - Header and claims are read once, by one reader that refuses repeated members, and nothing in a header can name a key or a place to
//     fetch one: jku, jwk, x5u and x5c are not looked at. Critical extensions (crit), unencoded payloads (b64), nested and encrypted
//     tokens are refused (RFC 7515 section 4.1.11, RFC 8725).
//   - Keys are fetched once for all who wait, refreshed every 10 minutes while Run runs, and for an unknown key id at most once in 10
//     seconds per issuer. A fetch that fails leaves the last keys in use; a fetch that succeeds ends every key that isn't in it.
//   - A token that was verified is remembered by its SHA-256 until it expires, its issuer's configuration changes or its keys change.
//     Looking it up takes no lock and allocates nothing.
//
// It refuses tokens over 16 KiB, symmetric algorithms and "none" whatever is configured, RSA keys under 2048 bits, and key sets over 256 KiB.
package jwt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/table"
)

// Bounds and periods.
const (
	MostBytes    = 16 << 10         // of a token
	refreshEvery = 10 * time.Minute // jittered by a tenth
	retryEvery   = 30 * time.Second // after a failed refresh
	refetchEvery = 10 * time.Second // for unknown key ids, and while an issuer can't be reached
	waitAtMost   = 5 * time.Second  // for a fetch, by whoever needs it
	lookEvery    = 5 * time.Second  // at what is due
)

// Issuers are those whose tokens are believed; *table.Table is one.
type Issuers interface {
	Provider(issuer string) (*table.IdentityProvider, bool)
	Providers() []*table.IdentityProvider
}

// Config says what Tokens needs.
type Config struct {
	// Egress fetches keys and metadata. Required.
	Egress *egress.Client
	// Issuers returns those of the current table. When set, Run fetches the keys of each before its first token comes, and forgets issuers
	// that are gone. Default: keys are fetched when the first token of an issuer comes.
	Issuers func() Issuers
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log is told when an issuer's keys can't be fetched, and when they can again. Default: nobody.
	Log *slog.Logger
}

// Tokens verifies JWTs. Its methods may be called from many goroutines.
type Tokens struct {
	cfg  Config // read-only after New
	seen cache
	book book

	base  context.Context
	end   context.CancelFunc
	mu    sync.Mutex
	ended bool           // guarded by mu
	busy  sync.WaitGroup // fetches; Add only under mu while not ended
}

// Caller is who a verified token speaks for. It is immutable.
type Caller struct {
	Principal *table.Principal
	// Expires is when the token ends to be accepted: its exp and the issuer's clock skew.
	Expires time.Time
}

// New returns Tokens that know no key yet.
func New(cfg Config) (*Tokens, error) {
	if cfg.Egress == nil {
		return nil, errors.New("jwt: Config.Egress is required: without it no key can be fetched")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Tokens{cfg: cfg}
	t.base, t.end = context.WithCancel(context.Background())
	return t, nil
}

// Run refreshes keys until ctx ends; then it waits for the fetches under way, and none begins any more. Without it keys are fetched only
// when a token needs them, and a key that its issuer has withdrawn stays in use until another is asked for.
func (t *Tokens) Run(ctx context.Context) error {
	defer t.stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		t.refresh()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (t *Tokens) stop() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.end()
	t.busy.Wait()
}

// Verify settles whom token speaks for; hash is its SHA-256. The error is a *fault.Error. Of hop client, phase auth and status 401: the token
// is refused; IsForeign tells whether it wasn't meant for this gateway at all. Of hop authserver, phase metadata and status 503: the
// issuer's keys can't be had.
func (t *Tokens) Verify(ctx context.Context, of Issuers, token string, hash [32]byte) (*Caller, error) {
	if c := t.known(of, hash); c != nil {
		return c, nil
	}
	u, err := t.read(of, token)
	if err != nil {
		return nil, err
	}
	keys, err := t.signedBy(ctx, u)
	if err != nil {
		return nil, err
	}
	c, err := u.caller()
	if err != nil {
		return nil, err
	}
	t.seen.put(&memory{hash: hash, caller: c, provider: u.provider, generation: keys.generation})
	return c, nil
}

// known returns the caller of a token that was verified before and still would be.
func (t *Tokens) known(of Issuers, hash [32]byte) *Caller {
	m := t.seen.get(hash)
	if m == nil || !t.cfg.Now().Before(m.caller.Expires) {
		return nil
	}
	p, ok := of.Provider(m.provider.Issuer)
	if !ok || p != m.provider {
		return nil
	}
	if keys := t.book.keysOf(p); keys == nil || keys.generation != m.generation {
		return nil
	}
	return m.caller
}

// Ours reports whether a text is a JWT that says to be of one of the issuers for one of its audiences. Nothing is verified: a token that has
// expired, or that somebody forged, is no other gateway's either.
func Ours(of Issuers, token string) bool {
	if !Shaped(token) {
		return false
	}
	_, err := unverified(of, token)
	return err == nil
}
