package leg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash/maphash"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
)

// List brings a member's list whole, from the catalogue or the server, and tells of it as a leg of r.
func (m *Maker) List(ctx context.Context, r *Request, of *route.Member, kind catalogue.Kind) (*catalogue.List, error) {
	l := m.New(r, of)
	l.rec.Method, l.walks = kind.Method(), true
	l.ask.Header = r.Header.Clone() // the walk may outlive the request
	src := &source{seed: *l, leg: l, capabilities: bytes.Clone(r.Capabilities), client: bytes.Clone(r.Client)}
	src.seed.spoke = nil // a watch is nobody's
	rec := l.rec         // that of the leg belongs to the walk
	key, keep := r.key(of.Server, kind)
	walk := m.cfg.Lore.List
	if !keep {
		walk = m.cfg.Lore.Alone
	}
	list, err := walk(ctx, key, of.Server, src)
	if src.settle(&rec) && r.Lost != nil {
		r.Lost(of.Server.Name)
	}
	m.finish(r, &rec, err)
	return list, err
}

// Peek returns a server's list if it is at hand.
func (m *Maker) Peek(r *Request, s *table.Server, kind catalogue.Kind) (list *catalogue.List, ok bool) {
	key, ok := r.key(s, kind)
	if !ok {
		return nil, false
	}
	return m.cfg.Lore.Peek(key)
}

// Changed lets go of a server's lists of which a message of its says that they have changed.
func (m *Maker) Changed(s *table.Server, method string) {
	for _, kind := range ChangedBy(method) {
		m.cfg.Lore.Changed(s.Hash, kind)
	}
}

// ChangedBy are the lists of which a notification says that they have changed; nil: it says nothing of lists.
func ChangedBy(method string) []catalogue.Kind {
	switch method {
	case "notifications/tools/list_changed":
		return []catalogue.Kind{catalogue.Tools}
	case "notifications/prompts/list_changed":
		return []catalogue.Kind{catalogue.Prompts}
	case "notifications/resources/list_changed":
		return []catalogue.Kind{catalogue.Resources, catalogue.Templates}
	}
	return nil
}

// key tells whose list a server's is, for the caller's capabilities. ok is false when it is this caller's alone, and not worth keeping.
func (r *Request) key(s *table.Server, kind catalogue.Kind) (key catalogue.Key, ok bool) {
	key = catalogue.Key{Server: s.Hash, Kind: kind, Era: r.Era, Capabilities: digest(r.Capabilities)}
	upstream, live := r.Session.Of(s.Name)
	switch {
	case r.Era == message.Modern:
	case live:
		key.Revision = upstream.Revision
	case message.Known(r.Revision):
		key.Revision = r.Revision
	default:
		key.Revision = message.Rev20251125 // as Open offers
	}
	if live && s.NeedsSession {
		key.Scope = r.Principal.ID
		return key, false // what it lists may depend on what was done in this session
	}
	key.Scope = r.scope(s)
	return key, len(s.ClientHeaders)+len(s.ForwardHeaders) == 0 && s.Auth.Type != "passthrough"
}

// scope tells for whom a server's answers are: empty for everybody.
func (r *Request) scope(s *table.Server) string {
	if shared(s) {
		return ""
	}
	if s.Auth.Flow == "token_exchange" { // one person's tokens may open different things
		sum := sha256.Sum256([]byte(r.Token))
		return r.Principal.ID + " " + string(sum[:])
	}
	return r.Principal.ID
}

// shared reports whether a server sees the same credential whoever calls.
func shared(s *table.Server) bool {
	if len(s.ClientHeaders)+len(s.ForwardHeaders) > 0 {
		return false
	}
	return s.Auth.Type != "passthrough" && s.Auth.Flow != "token_exchange"
}

var capabilitySeed = maphash.MakeSeed()

// digest is of what a client can do: servers list by it.
func digest(capabilities []byte) uint64 { return maphash.Bytes(capabilitySeed, capabilities) }
