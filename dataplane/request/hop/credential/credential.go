// Package credential decides what goes into a request to an upstream beside MCP itself: one pipeline, resolve, check, attach, for every
// request that leaves, whatever its method.
//
// It promises:
//   - A server whose config names a credential is never called without it. A secret that isn't there, a token that can't be had, a caller
//     who has nothing to exchange: each is a *fault.Error, and nothing else is tried in its place.
//   - Every value is looked at before it leaves: a gateway credential in any of them stops the request. No header leaves twice.
//   - Tokens of one server, config, secret and subject are fetched once, however many callers wait, and renewed ahead while they are in use.
//     Nobody waits for an authorization server longer than the server's own limits or 10 s, and not at all while an old token lives and a
//     new one is under way or was just refused.
//   - No value appears in an error, a log line or a span: secrets are redact.Secret until they are attached, and of an authorization
//     server's answer only a registered error code is told.
//
// It refuses: credentials of callers on endpoints of several servers, redirects, token types other than Bearer, and to guess a credential
// from what a caller sent under a name the server's config doesn't list.
package credential

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// How a credential was obtained, as x-mcp-debug-auth-resolution says it.
const (
	None        = "no-auth"
	Static      = "static-token"
	Passthrough = "oauth2-passthrough"
	PerRequest  = "per-request-header"
	Extra       = "extra-headers"
	Machine     = "m2m-client-credentials"
	Exchanged   = "token-exchange"
	Failed      = "resolution-failed"
	Multiple    = "multiple" // the server has no auth type, and its headers came in several of these ways
)

// What x-mcp-debug-oauth2-token shows of a credential that this caller didn't send.
const (
	shownNone = "(none)"
	shownHeld = "(gateway-held)"
)

// Field is one header line that leaves: a canonical name, and a value that was checked.
type Field struct{ Name, Value string }

// Bound is what was resolved for one request.
type Bound struct {
	// Fields in the order in which they leave; no name twice. Shared: read only.
	Fields []Field
	// Resolution is one of the constants of this package.
	Resolution string
	// Shown is the credential as its caller may see it: masked if this caller sent it, "(gateway-held)" or "(none)".
	Shown string
}

// Ask is one request that is about to leave.
type Ask struct {
	Table     *table.Table // of this request
	Server    *table.Server
	Principal *table.Principal
	// Header is the caller's, with canonical keys. Read only.
	Header http.Header
	// Subject is the JWT that admitted the caller, for token exchange; empty when a key did. Expires is its end; zero: not known.
	Subject string
	Expires time.Time
	// Single says that the endpoint names exactly this server.
	Single bool
	// Holds reports whether a value holds anybody's gateway credential. Required.
	Holds func(value string) bool
}

// Doer makes the requests to token endpoints; *egress.Client is one.
type Doer interface {
	Do(ctx context.Context, r *egress.Request) (*egress.Answer, error)
}

// Config is what a Resolver needs.
type Config struct {
	// Egress reaches token endpoints. Required.
	Egress Doer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log hears of tokens that can't be renewed; nil means nobody.
	Log *slog.Logger
}

// Resolver resolves credentials and keeps tokens. Its methods may be called from many goroutines.
type Resolver struct {
	cfg   Config   // read-only after New
	plans sync.Map // *table.Server → *plan

	mu     sync.Mutex
	owners map[string]*entry // guarded by mu; by server UID: what its tokens are made of, and the token of client_credentials

	exchanged [exchangeShards]shard
}

// New returns a resolver. It starts nothing: Run renews.
func New(cfg Config) (*Resolver, error) {
	if cfg.Egress == nil {
		return nil, errors.New("credential: Config.Egress is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{cfg: cfg, owners: map[string]*entry{}}, nil
}

// Resolve returns what goes into a request for a.Server. The error is a *fault.Error, or the end of ctx; Resolution and Shown of the Bound
// are set beside it, too. Servers that are Plain need no call.
func (r *Resolver) Resolve(ctx context.Context, a *Ask) (Bound, error) {
	b, err := r.bind(ctx, a)
	if err != nil {
		return Bound{Resolution: Failed, Shown: shownNone}, named(err, a.Server.Name)
	}
	return b, nil
}

// Refused is to be told when the upstream answered 401. A cached token is dropped then, so that the next call fetches another one: at most
// once in 10 s, since a server may refuse whatever it is sent. Where the caller sent a credential of its own, none of ours was refused.
func (r *Resolver) Refused(a *Ask) {
	if a.Server.Auth.Type != "oauth2" {
		return
	}
	if sent, err := clientFields(a); err != nil || find(sent, authorization) != nil {
		return
	}
	rd, err := r.ready(a)
	if err != nil {
		return
	}
	now := r.cfg.Now()
	e := rd.owner
	if a.Server.Auth.Flow == flowExchange {
		k := e.key.of(a.Subject)
		e = r.shardOf(k).peek(k)
	}
	if e != nil {
		e.drop(now)
	}
}

// bind resolves and checks.
func (r *Resolver) bind(ctx context.Context, a *Ask) (Bound, error) {
	rd, err := r.ready(a)
	if err != nil {
		return Bound{}, err
	}
	if err := heldBack(a, rd.fields); err != nil {
		return Bound{}, err
	}
	sent, err := clientFields(a)
	if err != nil {
		return Bound{}, err
	}
	passed, err := forwardedFields(a)
	if err != nil {
		return Bound{}, err
	}
	if rd.whole && len(sent) == 0 && len(passed) == 0 {
		return rd.bound, nil
	}
	m := mix{slot: rd.slot, sent: sent}
	m.fields = make([]Field, 0, 1+len(sent)+len(rd.fields)+len(passed))
	if err := r.fill(ctx, a, rd, &m); err != nil {
		return Bound{}, err
	}
	m.add(sent)
	m.add(rd.headers())
	m.pass(passed)
	return m.bound(rd.heldHeader), nil
}

// fill puts the credential of the server's auth type in, unless the caller sent one in its place.
func (r *Resolver) fill(ctx context.Context, a *Ask, rd *ready, m *mix) error {
	if rd.slot == "" || find(m.sent, rd.slot) != nil {
		return nil
	}
	f, label, shown, err := r.credential(ctx, a, rd)
	if err != nil {
		return err
	}
	m.fields = append(m.fields, f)
	m.label, m.shown = label, shown
	return nil
}

// credential returns the field of the server's auth type.
func (r *Resolver) credential(ctx context.Context, a *Ask, rd *ready) (f Field, label, shown string, err error) {
	switch a.Server.Auth.Type {
	case "passthrough":
		return passthrough(a)
	case "oauth2":
		value, label, err := r.bearer(ctx, a, rd)
		if err == nil {
			f = Field{authorization, value}
			err = heldBack(a, []Field{f})
		}
		return f, label, shownHeld, err
	}
	return rd.fields[0], Static, shownHeld, nil
}

// named gives each caller a fault of its own: it may be shared by those who waited for it, and stages write into it.
func named(err error, server string) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	c := *f
	c.Server = server
	return &c
}
