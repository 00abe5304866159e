package leg

import (
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
)

// lister is a caller of an endpoint of several servers.
type lister struct{ principal, token, capabilities string }

func (l lister) key(s *table.Server) (catalogue.Key, bool) {
	r := &Request{Principal: &table.Principal{ID: l.principal}, Token: l.token, Era: message.Legacy, Capabilities: []byte(l.capabilities),
		Session: &session.Many{Upstreams: []session.Upstream{{Server: "notes", ID: "of " + l.principal}}}}
	return r.key(s, catalogue.Tools)
}

// Red when the key lacks the token, or a kept list may be had with a credential that isn't in the key.
func TestWhoseListAServersIs(t *testing.T) {
	ann, bob := lister{principal: "jwt:ann"}, lister{principal: "jwt:bob"}
	admin, other := ann, ann
	admin.token, other.capabilities = "admin", `{"roots":{}}`
	for _, c := range []struct {
		name       string
		server     table.Server
		one, two   lister
		same, kept bool
	}{
		{"a credential of the server's own", table.Server{Auth: table.Auth{Type: "bearer"}}, ann, bob, true, true},
		{"clients that can do different things", table.Server{}, ann, other, false, true},
		{"tokens that are exchanged", table.Server{Auth: table.Auth{Type: "oauth2", Flow: "token_exchange"}}, ann, bob, false, true},
		{"two tokens of one person", table.Server{Auth: table.Auth{Type: "oauth2", Flow: "token_exchange"}}, ann, admin, false, true},
		{"a token of the server's own", table.Server{Auth: table.Auth{Type: "oauth2", Flow: "client_credentials"}}, ann, admin, true, true},
		{"the caller's own header", table.Server{Auth: table.Auth{Type: "passthrough"}}, ann, bob, false, false},
		{"a session that keeps state", table.Server{Name: "notes", NeedsSession: true}, ann, bob, false, false},
		{"headers of the caller's choice", table.Server{ClientHeaders: make([]table.ClientHeader, 1)}, ann, bob, false, false},
	} {
		one, kept := c.one.key(&c.server)
		two, _ := c.two.key(&c.server)
		if kept != c.kept || (one == two) != c.same {
			t.Errorf("%s: kept %v, one key for both %v", c.name, kept, one == two)
		}
	}
}

// Red when the key lacks the revision, or has the client's where another one was agreed on with the server.
func TestAListIsOfTheRevisionThatIsSpokenWithTheServer(t *testing.T) {
	for _, c := range []struct {
		client, agreed, want string
		era                  message.Era
	}{
		{"2025-03-26", "", "2025-03-26", message.Legacy},
		{"2025-11-25", "2025-06-18", "2025-06-18", message.Legacy},
		{"", "", "2025-11-25", message.Legacy},
		{"2026-07-28", "", "", message.Modern},
	} {
		r := &Request{Principal: &table.Principal{ID: "key:1"}, Era: c.era, Revision: c.client, Session: &session.Many{}}
		if c.agreed != "" {
			r.Session.Upstreams = []session.Upstream{{Server: "notes", ID: "1", Revision: c.agreed}}
		}
		s := &table.Server{Name: "notes"}
		if key, _ := r.key(s, catalogue.Tools); key.Revision != c.want {
			t.Errorf("client %q, agreed on %q: %q", c.client, c.agreed, key.Revision)
		}
		if n := testing.AllocsPerRun(100, func() { r.key(s, catalogue.Tools) }); n != 0 {
			t.Errorf("a key allocates %v times", n)
		}
	}
}
