package request_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// slowpoke is a gateway with two servers of which one sends the head of its answers and then nothing.
func slowpoke(t *testing.T, within time.Duration) *gateway {
	t.Helper()
	s := settings{servers: map[string]*configv1.ServerSpec{}}
	for name, url := range map[string]string{"fine": mcptest.Start(t, &mcptest.Rich{Mute: true}).URL, "stuck": mcptest.Start(t, heads()).URL} {
		s.servers[name] = server(url)
		s.servers[name].Timeouts = &configv1.Timeouts{List: within.String()}
	}
	return start(t, s)
}

// A server that ran out of time has done so on every face: what its list's outcome says, the hops say, too.
func TestWhoRanOutOfTimeIsNowhereWell(t *testing.T) {
	for range 5 {
		g := slowpoke(t, 300*time.Millisecond)
		a := g.send(t, "POST", "/mcp", list, "X-Litellm-Mcp-Debug", "true")
		hops := a.header.Get("X-Mcp-Debug-Hops")
		if !strings.Contains(a.body, `"stuck":{"status":"timeout"`) || strings.Contains(hops, "upstream.stuck;ok") || !strings.Contains(hops, "upstream.fine;ok") {
			t.Errorf("%q beside %s", hops, a.body)
		}
		if !strings.Contains(a.body, "phase=body") {
			t.Errorf("where it was: %s", a.body)
		}
	}
}

// A server that hangs behind the head of its greeting costs the second client nothing.
func TestALateGreetingCostsItsTimeOnce(t *testing.T) {
	const within = 3 * time.Second
	g := slowpoke(t, within)
	if a := g.send(t, "POST", "/mcp", greeting); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	began := time.Now()
	a := g.send(t, "POST", "/mcp", greeting)
	if took := time.Since(began); a.status != 200 || took > within/2 || !strings.Contains(a.body, `"stuck":{"status":"timeout"`) {
		t.Errorf("after %v: %d %s", took, a.status, a.body)
	}
}
