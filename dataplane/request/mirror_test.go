package request_test

import (
	"net/http"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// A notification's Mcp-Name is compared with nothing, so that it must not reach whoever routes by it behind the gateway.
func TestUncheckedNamesStay(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Modern{})
	g := start(t, one(up.URL))
	g.send(t, http.MethodPost, "/up/mcp", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "drop_tables")
	seen := up.Seen()
	if len(seen) != 1 || seen[0].Header.Get("Mcp-Method") != "tools/call" || seen[0].Header.Get("Mcp-Name") != "" {
		t.Errorf("%+v", seen)
	}
}
