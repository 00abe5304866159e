package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// The first bare curl of a server shows that a connection was made, although the gateway's own initialize made it.
func TestOneShotCallsShowTheDial(t *testing.T) {
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"stateful": server(mcptest.Start(t, &mcptest.Stateful{}).URL)}})
	a := g.send(t, http.MethodPost, "/stateful/mcp", list, "X-Litellm-Mcp-Debug", "true")
	if hops := a.header.Get("X-Mcp-Debug-Hops"); a.status != http.StatusOK || !strings.Contains(hops, "connect;ok") {
		t.Errorf("%d, hops %q", a.status, hops)
	}
}
