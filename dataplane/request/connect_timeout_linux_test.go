package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// A machine that doesn't answer the attempt to connect is told apart from one that refuses it.
func TestConnectTimeoutIsNamed(t *testing.T) {
	s := server(mcptest.FullQueueURL(t))
	s.Timeouts = &configv1.Timeouts{Connect: "200ms"}
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"dropped": s}})
	a := g.send(t, http.MethodPost, "/dropped/mcp", list, legacy...)
	if want := "hop=upstream; phase=connect; kind=timed_out"; a.status != http.StatusGatewayTimeout || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), want) {
		t.Fatalf("%d %q, want 504 %q", a.status, a.header.Get("X-Hopgate-Error"), want)
	}
	g.tellsAlike(t, a, "upstream", "connect", "timed_out")
}
