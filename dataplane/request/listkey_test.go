package request

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
)

// lister is a caller of an endpoint of several servers.
type lister struct{ principal, token, capabilities string }

func (l lister) key(s *table.Server) (catalogue.Key, bool) {
	x := &exchange{principal: &table.Principal{ID: l.principal}, admission: auth.Admission{Token: l.token}, era: message.Legacy,
		many: session.Many{Capabilities: []byte(l.capabilities), Upstreams: []session.Upstream{{Server: "notes", ID: "of " + l.principal}}}}
	return x.listKey(&route.Member{Server: s}, catalogue.Tools)
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

// Red without Short: what a client says would stay in memory, megabytes for each list and stream.
func TestWhatAClientSaysOfItselfIsKeptShort(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1","icons":[{"src":"` + strings.Repeat("x", 1<<20) + `"}]},` +
		`"io.modelcontextprotocol/clientCapabilities":{"roots":{},"experimental":{"x":"` + strings.Repeat("x", 1<<20) + `"}}}}}`)
	x := &exchange{era: message.Modern, body: body}
	if err := message.Scan(body, 0, &x.env); err != nil {
		t.Fatal(err)
	}
	capabilities, info := x.client()
	if string(capabilities) != `{"roots":{},"experimental":{}}` || string(info) != `{"name":"c","version":"1"}` {
		t.Errorf("%.100s, %.100s", capabilities, info)
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
		x := &exchange{principal: &table.Principal{ID: "key:1"}, era: c.era}
		x.call.Revision = c.client
		if c.agreed != "" {
			x.many.Upstreams = []session.Upstream{{Server: "notes", ID: "1", Revision: c.agreed}}
		}
		m := &route.Member{Server: &table.Server{Name: "notes"}}
		if key, _ := x.listKey(m, catalogue.Tools); key.Revision != c.want {
			t.Errorf("client %q, agreed on %q: %q", c.client, c.agreed, key.Revision)
		}
		if n := testing.AllocsPerRun(100, func() { x.listKey(m, catalogue.Tools) }); n != 0 && c.era == message.Legacy {
			t.Errorf("a key allocates %v times", n)
		}
	}
}
