package several

import (
	"context"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// opener opens a stream, as gather.Funnel wants it.
type opener = func(ctx context.Context) (gather.Events, error)

// share is one server's stream of a merged one.
type share struct {
	*leg.Stream
	part message.Listen // what is listened to, in the server's own names
}

// merged is a stream made of those of several servers. One goroutine uses it.
type merged struct {
	s      *Servers
	r      *Request
	shares []share
	f      *gather.Funnel
	news   news
	skip   string // the method of a notification that isn't told on
	e      Event
}

// Members are those whose streams are merged.
func (m *merged) Members() []route.Member {
	out := make([]route.Member, len(m.shares))
	for i := range m.shares {
		out[i] = m.shares[i].Member
	}
	return out
}

// pour lets the streams of all servers run into one.
func (m *merged) pour(ctx context.Context, open func(l *leg.Stream) opener) {
	m.f = gather.NewFunnel(ctx)
	m.f.EventLimit = m.r.Table.Settings().Event
	m.f.Failed = func(server string, err error) {
		for _, l := range m.shares {
			if l.Member.Server.Name == server { // this is its goroutine
				l.Broke(err)
			}
		}
	}
	for _, l := range m.shares {
		m.f.Add(l.Member.Server.Name, open(l.Stream))
	}
}

// Close ends the streams of all servers.
func (m *merged) Close() {
	if m.f != nil {
		m.f.Close()
	}
}

// next is the next event of any server; gather.ErrQuiet: what is held of news is due.
func (m *merged) next() (server string, event []byte, err error) {
	m.e.shed()
	return m.news.next(m.f)
}

// hear takes in an event of a server, which came in a session, and reports whether it goes out now, as m.e.Raw. places is where each of the
// streams stands, so that the caller can resume them all; nil: its own place will do.
func (m *merged) hear(from *session.Upstream, event []byte, places *[]session.Position) bool {
	e := &m.e
	e.Raw = append(e.Raw[:0], event...)
	var ok bool
	if e.Data, ok = message.Passable(e.Data[:0], e.Raw); !ok || Stray(e.Data, never) || !e.plain() {
		return false
	}
	if m.skip != "" && message.Method(e.Data) == m.skip {
		return false
	}
	var others []session.Position
	if places != nil {
		if id := string(message.ID(e.Raw)); id != "" {
			*places = positions(*places, from.Server, id)
		}
		others = *places
	}
	names := Names{Table: m.r.Table, Principal: m.r.Principal.ID, Door: m.r.Door}
	if err := names.Dress(e, from, others, true); err != nil { // the streams of the others, and what else this one says, go on
		m.s.cfg.Log.Debug("an event of a server couldn't be passed on", "server", from.Server, "error", err)
		return false
	}
	if s, ok := m.s.cfg.Table.Load().Server(from.Server); ok { // as it is configured now: the stream may be older
		m.s.cfg.Legs.Changed(s, message.Method(e.Data))
	}
	return !m.news.keep(e.Raw, e.Data)
}

func never([]byte) bool { return false }

// hand gives an event to the caller of Next.
func (m *merged) hand(event []byte) []byte {
	m.e.Raw = append(m.e.Raw[:0], event...)
	return m.out()
}

// out is the event in m.e, which isn't ours any more.
func (m *merged) out() (event []byte) {
	event, m.e.Raw = m.e.Raw, nil
	return event
}
