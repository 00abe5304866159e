package request_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// onlyTools knows no method about anything else than tools; in revision 2026-07-28 it says so with a status of its own.
func onlyTools(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.NewDecoder(r.Body).Decode(&m) //nolint:errcheck // a test server
	w.Header().Set("Content-Type", "application/json")
	switch {
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"l","version":"1"}}}`, m.ID)
	default:
		if r.Header.Get("Mcp-Protocol-Version") == "2026-07-28" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
	}
}

// TestServersWithoutAnyAreNotMissing: a server that has no prompts is no failed part of the list of prompts.
func TestServersWithoutAnyAreNotMissing(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(onlyTools))
	for protocol, ask := range map[string][]string{
		"legacy": {`{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{}}`},
		"modern": {`{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
			"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "prompts/list", "Accept", "application/json, text/event-stream"},
	} {
		s := one(up.URL)
		s.servers["up"].Protocol = protocol
		s.servers["more"] = &configv1.ServerSpec{Endpoints: s.servers["up"].Endpoints, Protocol: protocol}
		g := start(t, s)
		a := g.send(t, http.MethodPost, "/mcp", ask[0], ask[1:]...)
		if a.status != http.StatusOK || !strings.Contains(a.body, `"prompts":[]`) || !strings.Contains(a.body, `{"more":{"status":"ok"},"up":{"status":"ok"}}`) {
			t.Errorf("%s: %d %s", protocol, a.status, a.body)
		}
		if strings.Contains(g.access.String()+g.log.String(), "kind=") {
			t.Errorf("%s: %s%s", protocol, g.access, g.log)
		}
	}
}
