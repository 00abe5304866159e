package credential

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

const (
	exchangeShards = 16
	// mostExchanged is how many exchanged tokens are kept in all; beyond it any of them makes room.
	mostExchanged = 10_000
	perShard      = mostExchanged / exchangeShards
	// idleLife is how long the token of a server that nobody calls is kept.
	idleLife = time.Hour
)

// key is what a token belongs to. Another server, config, secret or subject is another key, so that no token outlives what it was made of.
type key struct {
	server  string            // UID
	auth    [sha256.Size]byte // of the auth type's config
	secret  confset.Hash
	subject [sha256.Size]byte // of the caller's JWT; zero with client_credentials
}

func (k key) of(subject string) key {
	k.subject = sha256.Sum256([]byte(subject))
	return k
}

// ownerOf returns the entry for a server's own tokens. When the key is another one, the server or its secret has changed, and everything
// that was made of the old one goes.
func (r *Resolver) ownerOf(k key, s *table.Server, secret *table.Secret) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.owners[k.server]
	if e != nil && e.key == k {
		return e
	}
	if e != nil {
		for i := range r.exchanged {
			r.exchanged[i].forget(func(old *entry) bool { return old.key.server == k.server })
		}
	}
	e = &entry{key: k, server: s, secret: secret}
	touch(&e.used, r.cfg.Now())
	r.owners[k.server] = e
	return e
}

// sweep forgets what isn't used any more.
func (r *Resolver) sweep(now time.Time) {
	r.plans.Range(func(s, p any) bool {
		if idle(p.(*plan).used.Load(), now) > planLife {
			r.plans.Delete(s)
		}
		return true
	})
	r.mu.Lock()
	for uid, e := range r.owners {
		if idle(e.used.Load(), now) > idleLife {
			delete(r.owners, uid)
		}
	}
	r.mu.Unlock()
	for i := range r.exchanged {
		r.exchanged[i].forget(func(e *entry) bool { return e.useless(now) })
	}
}

func idle(used int64, now time.Time) time.Duration { return now.Sub(time.Unix(used, 0)) }

// shard holds a part of the exchanged tokens. The zero value is empty.
type shard struct {
	mu      sync.Mutex
	entries map[key]*entry // guarded by mu
}

func (r *Resolver) shardOf(k key) *shard { return &r.exchanged[int(k.subject[0])%exchangeShards] }

// peek returns the entry, or nil.
func (s *shard) peek(k key) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[k]
}

// entry returns the entry, made like owner if there is none.
func (s *shard) entry(k key, owner *entry) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		return e
	}
	if s.entries == nil {
		s.entries = map[key]*entry{}
	}
	for old := range s.entries { // any: the order of maps is random
		if len(s.entries) < perShard {
			break
		}
		delete(s.entries, old)
	}
	e := &entry{key: k, server: owner.server, secret: owner.secret}
	s.entries[k] = e
	return e
}

func (s *shard) forget(which func(*entry) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.entries {
		if which(e) {
			delete(s.entries, k)
		}
	}
}
