//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// claudeCode runs one prompt with Claude Code. Its model is a script on loopback: it asks for the tool, and then says what came of it.
func claudeCode(t *testing.T, v *clientVisit) clientSaid {
	transport := "http"
	if v.SSE {
		transport = "sse"
	}
	config := inJSON(t, map[string]any{"mcpServers": map[string]any{"gate": map[string]any{"type": transport, "url": v.Address(), "headers": v.Header()}}})
	tool := claudePrefix + v.tool()
	m := &scriptedModel{tool: tool, arguments: v.Arguments()}
	s := httptest.NewServer(m)
	defer s.Close()
	env := []string{"ANTHROPIC_BASE_URL=" + s.URL, "ANTHROPIC_API_KEY=dummy-not-a-key", "ENABLE_TOOL_SEARCH=false", "MCP_TIMEOUT=20000",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1", "DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1"}
	p := v.client(t, "mcp.json", config, env, npm(t, "@anthropic-ai", "claude-code-linux-x64", "claude"), "-p", "call the tool",
		"--mcp-config", "mcp.json", "--strict-mcp-config", "--allowedTools", tool, "--max-turns", "3")
	out := must(t, clientLimit, p, "")
	said := m.heard()
	if !strings.HasPrefix(out, "DONE ") || len(said.Tools) == 0 {
		t.Errorf("it printed %q; the model was offered %d tools of the gateway", out, len(said.Tools))
	}
	return clientSaid{Tools: said.Tools, Result: strings.ReplaceAll(out, `\"`, `"`), Text: out}
}

// claudePrefix is how Claude Code names the tools of the server "gate" to its model.
const claudePrefix = "mcp__gate__"

// scriptedModel stands in for the model's API (POST /v1/messages, streamed): first turn a tool_use, second turn the tool_result as text.
type scriptedModel struct {
	tool      string
	arguments map[string]any

	mu      sync.Mutex
	offered []string // tools of the gateway in the last request that had any; guarded by mu
}

func (m *scriptedModel) heard() clientSaid {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clientSaid{Tools: m.offered}
}

// modelRequest is what counts of a request to the model.
type modelRequest struct {
	Stream   bool
	Tools    []namedTool
	Messages []struct{ Content json.RawMessage }
}

// ServeHTTP answers one turn.
func (m *scriptedModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var q modelRequest
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/messages" || json.Unmarshal(body, &q) != nil || len(q.Messages) == 0 {
		http.Error(w, `{"type":"error","error":{"type":"not_found_error","message":"not scripted"}}`, http.StatusNotFound)
		return
	}
	offered := []string{}
	for _, name := range toolNames(q.Tools) {
		if own, ok := strings.CutPrefix(name, claudePrefix); ok {
			offered = append(offered, own)
		}
	}
	m.mu.Lock()
	if len(offered) > 0 {
		m.offered = offered
	}
	m.mu.Unlock()
	result, done := toolResult(q.Messages[len(q.Messages)-1].Content)
	switch {
	case done:
		modelSays(w, q.Stream, map[string]any{"type": "text", "text": "DONE " + result}, "end_turn")
	case slices.Contains(offered, strings.TrimPrefix(m.tool, claudePrefix)):
		modelSays(w, q.Stream, map[string]any{"type": "tool_use", "id": "toolu_e2e", "name": m.tool, "input": m.arguments}, "tool_use")
	default:
		modelSays(w, q.Stream, map[string]any{"type": "text", "text": "the tool isn't there"}, "end_turn")
	}
}

// toolResult finds the result in a turn of the user.
func toolResult(content json.RawMessage) (text string, ok bool) {
	var parts []struct {
		Type    string
		Content json.RawMessage
	}
	if json.Unmarshal(content, &parts) != nil {
		return "", false
	}
	for _, p := range parts {
		if p.Type == "tool_result" {
			return string(p.Content), true
		}
	}
	return "", false
}

// modelSays writes a message with one block, whole or as the events of a stream.
func modelSays(w http.ResponseWriter, stream bool, block map[string]any, reason string) {
	usage := map[string]any{"input_tokens": 1, "output_tokens": 1}
	message := map[string]any{"id": "msg_e2e", "type": "message", "role": "assistant", "model": "scripted", "content": []any{block}, "stop_reason": reason,
		"stop_sequence": nil, "usage": usage}
	if !stream {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(message) //nolint:errcheck // the client is gone or not
		return
	}
	start, delta := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": block["text"]}
	if block["type"] == "tool_use" {
		input, _ := json.Marshal(block["input"]) //nolint:errcheck // a map of strings
		start = map[string]any{"type": "tool_use", "id": block["id"], "name": block["name"], "input": map[string]any{}}
		delta = map[string]any{"type": "input_json_delta", "partial_json": string(input)}
	}
	message["content"], message["stop_reason"] = []any{}, nil
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range []map[string]any{
		{"type": "message_start", "message": message},
		{"type": "content_block_start", "index": 0, "content_block": start},
		{"type": "content_block_delta", "index": 0, "delta": delta},
		{"type": "content_block_stop", "index": 0},
		{"type": "message_delta", "delta": map[string]any{"stop_reason": reason, "stop_sequence": nil}, "usage": usage},
		{"type": "message_stop"},
	} {
		b, _ := json.Marshal(e)                                 //nolint:errcheck // maps of plain values
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e["type"], b) //nolint:errcheck // the client is gone or not
	}
}
