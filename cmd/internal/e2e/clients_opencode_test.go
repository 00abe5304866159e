//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"testing"
)

// opencode runs one prompt with the servers of its config and a scripted model behind the OpenAI-compatible provider that it carries along.
func opencode(t *testing.T, visits []*clientVisit) []clientSaid {
	m, address := converse(t, openAIAPI(), "", visits)
	provider := map[string]any{"npm": "@ai-sdk/openai-compatible", "options": map[string]any{"baseURL": address + "/v1", "apiKey": "dummy-not-a-key"},
		"models": map[string]any{"model": map[string]any{}}}
	config := map[string]any{"provider": map[string]any{"scripted": provider}, "model": "scripted/model"}
	// A session with a title asks the model for none.
	p := opencodeCLI(t, visits, config, "run", "--pure", "--title", "e2e", "call the tools")
	return m.said(must(t, 2*clientLimit, p, ""))
}

// opencodeList lets it say of servers whether they are connected; the gateway's records say what it asked.
func opencodeList(t *testing.T, visits []*clientVisit) []clientSaid {
	p := opencodeCLI(t, visits, map[string]any{}, "mcp", "list")
	return connected(t, p, visits, func(i int, _ *clientVisit) string { return `✓ ` + serverAlias(i) + `\s+connected` })
}

// opencodeCLI has each endpoint as a server and looks for nothing elsewhere.
func opencodeCLI(t *testing.T, visits []*clientVisit, config map[string]any, args ...string) program {
	t.Helper()
	servers := map[string]any{}
	for i, v := range visits {
		servers[serverAlias(i)] = map[string]any{"type": "remote", "url": v.Address(), "headers": v.Header(), "oauth": false, "timeout": clientLimit.Milliseconds()}
	}
	config["mcp"], config["autoupdate"], config["share"] = servers, false, "disabled"
	env := []string{"OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1"}
	return visits[0].client(t, "opencode.json", inJSON(t, config), env, append([]string{npm(t, "opencode-linux-x64", "bin", "opencode")}, args...)...)
}

// openAIAPI is OpenAI's chat completions, streamed.
func openAIAPI() modelAPI {
	says := func(delta map[string]any, reason string) []any {
		chunk := func(delta map[string]any, reason any) any {
			return map[string]any{"id": "chat_e2e", "object": "chat.completion.chunk", "created": 1, "model": "model",
				"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": reason}}}
		}
		delta["role"] = "assistant"
		return []any{chunk(delta, nil), chunk(map[string]any{}, reason)}
	}
	return modelAPI{
		Path: "/v1/chat/completions",
		Read: readOpenAITurn,
		Calls: func(calls []modelCall) []any {
			asked := []any{}
			for i, c := range calls {
				arguments, _ := json.Marshal(c.Arguments) //nolint:errcheck // a map of strings
				asked = append(asked, map[string]any{"index": i, "id": c.Tool, "type": "function",
					"function": map[string]any{"name": c.Tool, "arguments": string(arguments)}})
			}
			return says(map[string]any{"tool_calls": asked}, "tool_calls")
		},
		Text: func(text string) []any { return says(map[string]any{"content": text}, "stop") },
	}
}

func readOpenAITurn(body []byte) (modelTurn, error) {
	var q struct {
		Stream   bool
		Tools    []struct{ Function namedTool }
		Messages []struct {
			Role    string
			Call    string `json:"tool_call_id"` // the declared tool, as openAIAPI calls
			Content json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return modelTurn{}, err
	}
	if !q.Stream {
		return modelTurn{}, errors.New("not for a stream")
	}
	turn := modelTurn{Results: map[string]string{}}
	for _, tool := range q.Tools {
		turn.Tools = append(turn.Tools, tool.Function.Name)
	}
	for _, m := range q.Messages {
		if m.Role == "tool" {
			turn.Results[m.Call] = string(m.Content)
		}
	}
	return turn, nil
}
