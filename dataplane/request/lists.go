package request

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"iter"
	"net/http"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// list answers a list of several servers from the catalogue.
func (h *Handler) list(x *exchange, kind catalogue.Kind) error {
	after, err := x.cursor(kind)
	if err != nil {
		return err
	}
	members := x.members(kind)
	parts, outcomes := h.lists(x, members, kind)
	if err := x.ctx.Err(); err != nil {
		return clientGone(x, err)
	}
	if err := x.broken(outcomes); err != nil {
		return err
	}
	page := gather.Page{Scope: &x.scope, Kind: kind, Parts: parts, After: after, Most: x.table.Settings().Page, Modern: x.era == message.Modern,
		Now: x.now, Outcomes: outcomes}
	seal := func(c session.Cursor) (string, error) {
		c.Method = kind.Method()
		return session.SealCursor(x.table.Ring("session"), c, x.principal.ID, x.door.Canonical(), x.now)
	}
	if x.ans, err = gather.AppendList(x.ans[:0], x.id(), page, seal); err != nil {
		return err
	}
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), x.ans)
	return nil
}

// cursor opens the sealed cursor that the caller came back with.
func (x *exchange) cursor(kind catalogue.Kind) (after session.Cursor, err error) {
	text := x.env.CursorString(x.body)
	if text == "" {
		return after, nil
	}
	return session.OpenCursor(x.table.Ring("session"), text, x.principal.ID, x.door.Canonical(), x.now)
}

// members are the servers that a list of a kind is made of.
func (x *exchange) members(kind catalogue.Kind) []route.Member {
	if kind != catalogue.Tools && x.scope.Toolset != nil {
		return nil
	}
	all := x.scope.Members()
	if kind == catalogue.Tools {
		return all
	}
	kept := all[:0]
	for _, m := range all {
		if !m.Access.ToolsOnly() {
			kept = append(kept, m)
		}
	}
	return kept
}

// lists brings the members' lists: those at hand at once, the others in parallel.
func (h *Handler) lists(x *exchange, members []route.Member, kind catalogue.Kind) ([]gather.ListPart, []gather.Outcome) {
	parts := make([]gather.ListPart, len(members))
	outcomes := make([]gather.Outcome, len(members))
	var missing []route.Member
	var at []int
	for i := range members {
		parts[i].Member, outcomes[i] = members[i], gather.Outcome{Server: members[i].Server.Name, Status: gather.OK}
		if key, ok := x.listKey(&members[i], kind); ok {
			if parts[i].List, ok = h.lore.Peek(key); ok {
				continue
			}
		}
		missing, at = append(missing, members[i]), append(at, i)
	}
	if len(missing) == 0 {
		return parts, outcomes
	}
	found := make([]*catalogue.List, len(missing))
	outs := gather.Each(x.ctx, missing, func(ctx context.Context, i int) (err error) {
		found[i], err = h.listOf(ctx, x, &missing[i], kind)
		return err
	})
	for i, j := range at {
		outcomes[j] = outs[i]
		if outs[i].Status == gather.OK {
			parts[j].List = found[i]
		}
	}
	return parts, outcomes
}

// listOf brings one member's list, and tells of the leg.
func (h *Handler) listOf(ctx context.Context, x *exchange, m *route.Member, kind catalogue.Kind) (*catalogue.List, error) {
	l := h.newLeg(x, m)
	l.rec.Method, l.walks = kind.Method(), true
	l.ask.Header = x.in.Header.Clone() // the walk may outlive the request
	capabilities, client := x.client()
	src := &source{seed: *l, leg: l, capabilities: bytes.Clone(capabilities), client: bytes.Clone(client)}
	rec := l.rec // that of the leg belongs to the walk
	key, keep := x.listKey(m, kind)
	walk := h.lore.List
	if !keep {
		walk = h.lore.Alone
	}
	list, err := walk(ctx, key, m.Server, src)
	src.settle(&rec)
	h.finishLeg(x, &rec, err)
	return list, err
}

// listKey tells whose list a member's is, for the caller's capabilities. ok is false when it is this caller's alone, and not worth keeping.
func (x *exchange) listKey(m *route.Member, kind catalogue.Kind) (catalogue.Key, bool) {
	key := catalogue.Key{Server: m.Server.Hash, Kind: kind, Era: x.era}
	capabilities, _ := x.client()
	key.Capabilities = digest(capabilities)
	upstream, live := upstreamOf(&x.many, m.Server.Name)
	switch {
	case x.era == message.Modern:
	case live:
		key.Revision = upstream.Revision
	case message.Known(x.call.Revision):
		key.Revision = x.call.Revision
	default:
		key.Revision = message.Rev20251125 // as leg.open offers
	}
	if live && m.Server.NeedsSession {
		key.Scope = x.principal.ID
		return key, false // what it lists may depend on what was done in this session
	}
	if shared(m.Server) {
		return key, true
	}
	key.Scope = x.principal.ID
	if m.Server.Auth.Flow == "token_exchange" { // one person's tokens may open different things
		sum := sha256.Sum256([]byte(x.admission.Token))
		key.Scope += " " + string(sum[:])
	}
	return key, len(m.Server.ClientHeaders)+len(m.Server.ForwardHeaders) == 0 && m.Server.Auth.Type != "passthrough"
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

// client is what the caller's client says of itself, as raw JSON: in its session, or on each request. It is short in both: each leg has a copy, and
// it stays in memory with lists that are kept.
func (x *exchange) client() (capabilities, info []byte) {
	if x.era == message.Modern || x.rec.Method == "initialize" {
		return session.Short(message.ClientOf(x.body, &x.env))
	}
	return x.many.Capabilities, x.many.ClientInfo
}

// names lists what a member has of a kind, for names that were cut. When that fails nobody knows what is meant, and failed says why.
func (h *Handler) names(x *exchange, kind catalogue.Kind, failed *error) func(m *route.Member) iter.Seq[string] {
	return func(m *route.Member) iter.Seq[string] {
		list, err := h.listOf(x.ctx, x, m, kind)
		if err != nil {
			*failed = err
			return func(func(string) bool) {}
		}
		return list.Names()
	}
}

// source fetches a server's lists for the catalogue. Its goroutine is the catalogue's, which may go on when the request has ended.
type source struct {
	seed                 leg // as it was made; copied for watches
	leg                  *leg
	capabilities, client []byte
	ready                bool

	mu  sync.Mutex
	rec telemetry.Record // as of the last exchange; guarded by mu
}

// Page fetches one page. Where the server has lost the caller's session the list is had in one of its own, unless that server keeps state in
// sessions: others may be waiting for it.
func (s *source) Page(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
	data, err := s.page(ctx, kind, cursor)
	if l := s.leg; l.live && !l.own && lost(err) && !l.member.Server.NeedsSession {
		l.live, l.call.Instance, s.ready = false, 0, false
		data, err = s.page(ctx, kind, cursor)
	}
	if err != nil {
		return nil, s.leg.late(err)
	}
	return data, nil
}

func (s *source) page(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
	if !s.ready {
		if err := s.begin(ctx); err != nil {
			return nil, err
		}
	}
	l := s.leg
	l.rec.Method = kind.Method()
	l.call.Repeatable = true
	if l.era == message.Modern {
		l.call.MCPMethod = kind.Method()
	}
	// No other request has this id in the session, which may be the caller's own.
	body := message.AppendAsk(nil, message.Ask{ID: "hopgate-" + rand.Text(), Method: kind.Method(), Cursor: cursor, Revision: l.call.Revision,
		Capabilities: s.capabilities, ClientInfo: s.client, Traceparent: l.call.Traceparent})
	data, _, err := l.answer(ctx, body)
	s.note()
	return data, err
}

// begin finds the way to the server: the caller's own session of it, or one for this walk.
func (s *source) begin(ctx context.Context) error {
	l := s.leg
	err := l.prepare(ctx)
	if err == nil && l.era == message.Legacy && !l.live {
		if _, err = l.open(ctx, s.capabilities, s.client); err == nil {
			err = l.initialized(ctx)
		}
	}
	s.note()
	s.ready = err == nil
	return err
}

// Close ends what begin began. The catalogue calls it when the walk is over.
func (s *source) Close() error {
	s.leg.close(context.Background())
	return nil
}

// TellsChanges reports whether the server tells of changes of a kind, and can be listened to. While nobody knows, it may.
func (s *source) TellsChanges(kind catalogue.Kind) bool {
	return s.leg.h.told.tells(s.leg.member.Server, kind)
}

// note keeps what the last exchange measured.
func (s *source) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec = s.leg.rec
}

// settle copies what was measured so far into the record of the leg that waited.
func (s *source) settle(to *telemetry.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.rec.Start.IsZero() {
		to.Upstream, to.UpstreamStatus, to.Attempts, to.Credential = s.rec.Upstream, s.rec.UpstreamStatus, s.rec.Attempts, s.rec.Credential
	}
}
