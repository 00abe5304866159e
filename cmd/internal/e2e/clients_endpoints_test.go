//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// clientKinds are real clients as people have them.
func clientKinds() []clientKind {
	return []clientKind{
		{Name: "inspector_ui", Revision: "2025-11-25", Doors: []string{"single", "aggregate", "toolset"}, Together: inspectorUI},
		{Name: "claude_code", Revision: "2025-11-25", Prefers2026: true, Use: claudeCode},
		{Name: "codex", Revision: "2025-06-18", NoSSE: true, Use: codex},
		{Name: "inspector_legacy", Revision: "2025-11-25", Use: inspectorCLI("legacy")},
		{Name: "inspector_auto", Revision: "2025-11-25", Prefers2026: true, NoSSE: true, Use: inspectorCLI("auto")},
		{Name: "mcporter", Revision: "2025-11-25", Use: mcporter},
		{Name: "mcp_remote", Revision: "2025-11-25", Doors: []string{"single", "aggregate", "toolset", "sse_aggregate"}, Last: "tools/list", Use: mcpRemoteClient},
		{Name: "mcp_remote_bridge", Revision: "2025-11-25", Use: mcpRemoteBridge},
		{Name: "opencode", Revision: "2025-11-25", Together: opencode},
		{Name: "opencode_list", Revision: "2025-11-25", Last: "tools/list", Together: opencodeList},
		{Name: "gemini", Revision: "2025-06-18", Together: gemini},
		{Name: "gemini_list", Revision: "2025-06-18", Last: "ping", Together: geminiList},
	}
}

// Each real client connects to each kind of endpoint, gets its tools and, where it can without a person, calls one; those that call for a model
// have a scripted one. What the client says, what the server received and what the gateway's access lines tell have to agree.
func TestRealClientsWorkOnEveryKindOfEndpoint(t *testing.T) {
	visits := map[string][]*clientVisit{}
	for _, k := range clientKinds() {
		for _, d := range clientDoors() {
			if (!d.SSE || !k.NoSSE) && (k.Doors == nil || slices.Contains(k.Doors, d.Name)) {
				visits[k.Name] = append(visits[k.Name], newClientVisit(k, d))
			}
		}
	}
	bed := startClientBed(t, slices.Concat(slices.Collect(maps.Values(visits))...))
	t.Cleanup(func() {
		slices.Sort(bed.table)
		t.Logf("\n| client | endpoint | negotiated | tools | at the server | took |\n| --- | --- | --- | --- | --- | --- |\n%s", strings.Join(bed.table, "\n"))
	})
	for _, k := range clientKinds() {
		if k.Together != nil {
			t.Run(k.Name, func(t *testing.T) {
				t.Parallel() // as many at once as there are processors
				runTogether(t, k, visits[k.Name])
			})
			continue
		}
		for _, v := range visits[k.Name] {
			t.Run(k.Name+"/"+v.clientDoor.Name, func(t *testing.T) {
				t.Parallel()
				v.run(t)
			})
		}
	}
}
