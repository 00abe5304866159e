package credential

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

const (
	flowExchange = "token_exchange"
	flowMachine  = "client_credentials"
)

// planLife is how long the plan of a server that isn't called is kept; a changed server is another pointer and gets its own.
const planLife = 2 * time.Minute

// plan is what of a server's credential doesn't depend on the request. It is made once per compiled server.
type plan struct {
	names []string // of the secrets: of the auth type first, then of the headers in their order
	slot  string
	auth  [sha256.Size]byte // of the auth type's config; only with oauth2
	ready atomic.Pointer[ready]
	used  atomic.Int64 // unix seconds
}

// ready is a plan with its secrets. It is immutable.
type ready struct {
	secrets []*table.Secret // of plan.names
	slot    string
	// fields are those that don't depend on the request: the credential if it is one (own), then the server's headers.
	fields     []Field
	own        bool
	heldHeader bool // one of the headers comes from a secret
	// whole says that bound is the answer for each request that brings no header of its own.
	whole bool
	bound Bound
	owner *entry // of oauth2
}

// headers are the server's own, without its credential.
func (rd *ready) headers() []Field {
	if rd.own {
		return rd.fields[1:]
	}
	return rd.fields
}

// ready returns the server's plan with the secrets of this request's table.
func (r *Resolver) ready(a *Ask) (*ready, error) {
	p := r.planOf(a.Server)
	if rd := p.ready.Load(); rd != nil && rd.fits(p, a.Table) {
		return rd, nil
	}
	rd, err := r.prepare(a, p)
	if err != nil {
		return nil, err
	}
	p.ready.Store(rd)
	return rd, nil
}

func (rd *ready) fits(p *plan, t *table.Table) bool {
	for i, name := range p.names {
		if s, ok := t.Secret(name); !ok || s != rd.secrets[i] {
			return false
		}
	}
	return true
}

func (r *Resolver) planOf(s *table.Server) *plan {
	v, ok := r.plans.Load(s)
	if !ok {
		v, _ = r.plans.LoadOrStore(s, newPlan(s))
	}
	p := v.(*plan)
	touch(&p.used, r.cfg.Now())
	return p
}

// touch notes a use, to the second, so that few of many callers write.
func touch(used *atomic.Int64, now time.Time) {
	if n := now.Unix(); used.Load() != n {
		used.Store(n)
	}
}

func newPlan(s *table.Server) *plan {
	p := &plan{}
	switch s.Auth.Type {
	case "", "none":
	case "api_key":
		p.slot = s.Auth.Header
		if p.slot == "" {
			p.slot = "X-Api-Key"
		}
	default:
		p.slot = authorization
	}
	if p.slot != "" && s.Auth.Type != "passthrough" {
		p.names = append(p.names, s.Auth.Secret)
	}
	if s.Auth.Type == "oauth2" {
		p.auth = authHash(&s.Auth)
	}
	for i := range s.Headers {
		if name := s.Headers[i].Secret; name != "" {
			p.names = append(p.names, name)
		}
	}
	return p
}

// authHash is of what a token depends on beside the secret's value.
func authHash(a *table.Auth) (sum [sha256.Size]byte) {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	text(a.Flow)
	text(a.Secret)
	if t := a.Token; t != nil {
		for _, s := range append([]string{t.URL, t.ClientID, fmt.Sprint(t.Post), t.Resource, t.Audience}, t.Scopes...) {
			text(s)
		}
		if t.Target != nil {
			text(t.Target.Key) // names the TLS settings, too
		}
	}
	h.Sum(sum[:0])
	return sum
}

// prepare finds the secrets and makes what can be made of them.
func (r *Resolver) prepare(a *Ask, p *plan) (*ready, error) {
	rd := &ready{slot: p.slot, secrets: make([]*table.Secret, len(p.names))}
	for i, name := range p.names {
		s, ok := a.Table.Secret(name)
		switch {
		case !ok || s.Value.Empty():
			return nil, noSecret(a.Server.Name, name)
		case !sendable(s.Value.Reveal(), mostValue):
			return nil, badSecret(a.Server.Name, name)
		}
		rd.secrets[i] = s
	}
	rest := rd.secrets
	if p.slot != "" && a.Server.Auth.Type != "passthrough" {
		rest = rest[1:]
		if err := r.own(a, p, rd); err != nil {
			return nil, err
		}
	}
	for i := range a.Server.Headers {
		f := Field{a.Server.Headers[i].Name, a.Server.Headers[i].Text}
		if a.Server.Headers[i].Secret != "" {
			f.Value, rest, rd.heldHeader = rest[0].Value.Reveal(), rest[1:], true
		}
		if f.Value != "" && find(rd.fields, f.Name) == nil {
			rd.fields = append(rd.fields, f)
		}
	}
	if rd.whole = rd.own || rd.slot == ""; rd.whole {
		m := mix{slot: rd.slot, fields: rd.fields}
		if rd.own {
			m.label, m.shown = Static, shownHeld
		}
		rd.bound = m.bound(rd.heldHeader)
	}
	return rd, nil
}

// own makes the credential of the server's auth type, or the place for its tokens.
func (r *Resolver) own(a *Ask, p *plan, rd *ready) error {
	auth, secret := &a.Server.Auth, rd.secrets[0]
	value := secret.Value.Reveal()
	switch auth.Type {
	case "api_key", "authorization":
	case "bearer":
		value = "Bearer " + value
	case "basic":
		value = basic(auth.Username, value)
	case "oauth2":
		if auth.Token == nil || auth.Flow != flowExchange && auth.Flow != flowMachine {
			return unknownAuth(a.Server.Name)
		}
		rd.owner = r.ownerOf(key{server: a.Server.UID, auth: p.auth, secret: secret.Hash}, a.Server, secret)
		return nil
	default:
		return unknownAuth(a.Server.Name)
	}
	rd.own, rd.fields = true, append(rd.fields, Field{rd.slot, value})
	return nil
}

// basic is RFC 7617 with UTF-8.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
