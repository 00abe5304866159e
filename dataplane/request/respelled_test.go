package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// What isn't open must not be reachable by another spelling of the call: as a notification, which lenient servers carry out, under names in
// other capitals, which some parsers take for the same, or without a name.
func TestNoSpellingOfACallPassesTheGrants(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(library))
	s := one(up.URL)
	s.keys = map[string]*configv1.ApiKeySpec{
		"app":   {Sha256: digest(carol), Servers: []string{"up"}, Tools: []*configv1.ToolRule{{Server: "up", Deny: []string{"wipe"}}}},
		"tools": {Sha256: digest(dave), Toolsets: []string{"readers"}}}
	s.more = append(s.more, object(t, "toolset", "readers", &configv1.Toolset{Name: "readers",
		Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "up", Tool: "read"}}}}))
	g := start(t, s)
	for _, key := range []string{carol, dave} {
		for _, c := range []struct {
			body   string
			status int
		}{
			{`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"wipe"}}`, 403},
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"wipe"}}`, 400},
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"wipe"}}`, 400},
			{`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"wipe"}}`, 400},
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["wipe"]}`, 403},
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["wipe"]}}`, 403},
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, 403},
		} {
			before := len(up.Seen())
			a := g.send(t, http.MethodPost, "/up/mcp", c.body, "X-Litellm-Api-Key", key, "Mcp-Protocol-Version", "2025-11-25")
			if a.status != c.status || len(up.Seen()) != before {
				t.Errorf("%s: %d %s, %d requests went on", c.body, a.status, a.body, len(up.Seen())-before)
			}
		}
		for body, status := range map[string]int{
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}`:                                       200,
			`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`:                                 202,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"Name":"x","METHOD":"y"}}}`: 200,
		} {
			if a := g.send(t, http.MethodPost, "/up/mcp", body, "X-Litellm-Api-Key", key, "Mcp-Protocol-Version", "2025-11-25"); a.status != status {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
	}
}

// A limit counts calls, also those whose sender wants no answer.
func TestCallsWithoutAnIDCountAgainstLimits(t *testing.T) {
	s := one(mcptest.Start(t, http.HandlerFunc(library)).URL)
	s.servers["up"].ToolLimits = []*configv1.ToolLimits{{Tool: "wipe", Limits: &configv1.CallLimits{Rate: "1/h"}}}
	g := start(t, s)
	var statuses []string
	for range 2 {
		a := g.send(t, http.MethodPost, "/up/mcp", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"wipe"}}`, "Mcp-Protocol-Version", "2025-11-25")
		statuses = append(statuses, http.StatusText(a.status))
	}
	if got := strings.Join(statuses, ", "); got != "Accepted, Too Many Requests" {
		t.Error(got)
	}
}
