package hop_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func newHop(t *testing.T) *hop.Hop {
	t.Helper()
	c, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return hop.New(c, "test")
}

// compiled is the server of a config.
func compiled(t testing.TB, name, url, protocol string) *table.Server {
	t.Helper()
	body, err := rules.Body(&configv1.Server{Name: name, Spec: &configv1.ServerSpec{Protocol: protocol, Endpoints: []*configv1.Endpoint{{Url: url}}}})
	if err != nil {
		t.Fatal(err)
	}
	o := confset.Object{Key: confset.Key{Kind: "server", Name: name}, UID: name, Hash: confset.HashBody(body), Body: body}
	tb, _ := table.New(table.Config{}).Apply(confset.Delta{Upserts: []confset.Object{o}}, 1, table.Version{})
	s, ok := tb.Server(name)
	if !ok {
		t.Fatal("not compiled")
	}
	return s
}

const (
	noModern = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`
	isModern = `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}`
	noLegacy = `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`
	isLegacy = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`
)

func TestWhatIsKnownAboutErasDecides(t *testing.T) {
	for _, c := range []struct {
		name, protocol  string
		probe, evidence string
		status          int
		modern, legacy  bool // passes afterwards
	}{
		{"nothing is known", "auto", "", "", 0, true, true},
		{"no discovery", "auto", "server/discover", noModern, 200, false, true},
		{"discovery", "auto", "server/discover", isModern, 200, true, true},
		{"no handshake", "auto", "initialize", noLegacy, 400, true, false},
		{"handshake", "auto", "initialize", isLegacy, 200, true, true},
		{"an outage tells nothing", "auto", "server/discover", noModern, 503, true, true},
		{"a credential's lack tells nothing", "auto", "initialize", noLegacy, 401, true, true},
		{"another method tells nothing", "auto", "tools/list", noModern, 200, true, true},
		{"configured as modern", "modern", "initialize", isLegacy, 200, true, false},
		{"configured as legacy", "legacy", "server/discover", isModern, 200, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, s := newHop(t), compiled(t, "up", "http://127.0.0.1:1/mcp", c.protocol)
			if c.probe != "" {
				h.Learn(s, c.probe, c.status, []byte(c.evidence), now)
			}
			for era, want := range map[message.Era]bool{message.Modern: c.modern, message.Legacy: c.legacy} {
				err := h.Mixed(s, era, "tools/call", "asked", now)
				if f := fault.As(err); (err == nil) != want || err != nil && (f.HTTPStatus() != 400 || f.JSONRPCCode() != -32022) {
					t.Errorf("%v: %v", era, err)
				}
				for _, probe := range []string{"server/discover", "initialize"} {
					if err := h.Mixed(s, era, probe, "", now); err != nil {
						t.Errorf("the probe %s was refused: %v", probe, err)
					}
				}
			}
		})
	}
}

func TestVerdictsHealAndAge(t *testing.T) {
	h, s := newHop(t), compiled(t, "up", "http://127.0.0.1:1/mcp", "auto")
	other := compiled(t, "up", "http://127.0.0.1:2/mcp", "auto")
	refused := func(s *table.Server, at time.Time) bool {
		return h.Mixed(s, message.Modern, "tools/call", "", at) != nil
	}
	h.Learn(s, "server/discover", 200, []byte(noModern), now)
	if !refused(s, now) || !refused(s, now.Add(5*time.Minute-1)) {
		t.Error("the verdict doesn't hold")
	}
	if refused(s, now.Add(5*time.Minute)) {
		t.Error("the verdict holds without end")
	}
	if refused(other, now) {
		t.Error("the verdict holds for another config of the server")
	}
	h.Learn(other, "server/discover", 200, []byte(noModern), now.Add(time.Hour)) // sweeps what is stale
	h.Learn(s, "server/discover", 200, []byte(noModern), now.Add(time.Hour))
	h.Learn(s, "server/discover", 200, []byte(isModern), now.Add(time.Hour))
	if refused(s, now.Add(time.Hour)) {
		t.Error("new evidence doesn't heal")
	}
}

func TestSessionlessServersAreForgottenAfterAMinute(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	h, s := newHop(t), compiled(t, "up", up.URL, "auto")
	ask := func(at time.Time) int {
		before := len(up.Seen())
		c := hop.Call{Server: s, Settings: table.New(table.Config{}).Settings(), Method: http.MethodPost, Body: []byte(`{}`)}
		var rec telemetry.Record
		if err := h.OneShot(context.Background(), &c, &rec, at); err != nil || c.Session != "" {
			t.Fatal(err, c.Session)
		}
		h.Goodbye(context.Background(), &c)
		return len(up.Seen()) - before
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {0, 0}, {time.Minute - 1, 0}, {time.Minute, 1}, {2*time.Minute - 1, 0}} {
		if got := ask(now.Add(c.at)); got != c.want {
			t.Errorf("after %v: %d requests, want %d", c.at, got, c.want)
		}
	}
	h.Forget(&hop.Call{Server: s})
	if got := ask(now.Add(2*time.Minute - 1)); got != 1 {
		t.Errorf("after a refusal: %d requests", got)
	}
}
