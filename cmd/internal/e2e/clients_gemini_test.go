//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"testing"
)

// geminiModel is the model that Gemini CLI is told to use.
const geminiModel = "gemini-2.5-flash"

// gemini lets Gemini CLI run one prompt with the servers of its settings and a scripted model.
func gemini(t *testing.T, visits []*clientVisit) []clientSaid {
	m, address := converse(t, geminiAPI(), "mcp_", visits)
	env := []string{"GEMINI_API_KEY=dummy-not-a-key", "GOOGLE_GEMINI_BASE_URL=" + address, "GEMINI_CLI_NO_RELAUNCH=true"}
	p := geminiCLI(t, visits, env, "--model", geminiModel, "-p", "call the tools")
	return m.said(must(t, 2*clientLimit, p, ""))
}

// geminiList lets it say of servers whether they are connected; the gateway's records say what it asked.
func geminiList(t *testing.T, visits []*clientVisit) []clientSaid {
	p := geminiCLI(t, visits, nil, "mcp", "list")
	return connected(t, p, visits, func(i int, v *clientVisit) string {
		kind := "http"
		if v.SSE {
			kind = "sse"
		}
		return regexp.QuoteMeta("✓ " + serverAlias(i) + ": " + v.Address() + " (" + kind + ") - Connected")
	})
}

// geminiCLI has each endpoint as a trusted server, asks nobody for a login and sends nothing home.
func geminiCLI(t *testing.T, visits []*clientVisit, env []string, args ...string) program {
	t.Helper()
	servers := map[string]any{}
	for i, v := range visits {
		s := map[string]any{"headers": v.Header(), "trust": true}
		if v.SSE {
			s["url"], s["type"] = v.Address(), "sse"
		} else {
			s["httpUrl"] = v.Address()
		}
		servers[serverAlias(i)] = s
	}
	settings := inJSON(t, map[string]any{"mcpServers": servers, "privacy": map[string]any{"usageStatisticsEnabled": false},
		"general": map[string]any{"enableAutoUpdate": false, "enableAutoUpdateNotification": false}, "telemetry": map[string]any{"enabled": false},
		"security": map[string]any{"folderTrust": map[string]any{"enabled": false}, "auth": map[string]any{"selectedType": "gemini-api-key"}}})
	return visits[0].client(t, filepath.Join(".gemini", "settings.json"), settings, env, append([]string{node(t), npm(t, ".bin", "gemini")}, args...)...)
}

// geminiAPI is streamGenerateContent of the Gemini API, v1beta.
func geminiAPI() modelAPI {
	says := func(parts []any) []any {
		return []any{map[string]any{"candidates": []any{map[string]any{"content": map[string]any{"role": "model", "parts": parts}, "finishReason": "STOP"}},
			"usageMetadata": map[string]any{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}}
	}
	return modelAPI{
		Path: "/v1beta/models/" + geminiModel + ":streamGenerateContent?alt=sse",
		Read: readGeminiTurn,
		Calls: func(calls []modelCall) []any {
			parts := []any{}
			for _, c := range calls {
				parts = append(parts, map[string]any{"functionCall": map[string]any{"name": c.Tool, "args": c.Arguments}})
			}
			return says(parts)
		},
		Text: func(text string) []any { return says([]any{map[string]any{"text": text}}) },
	}
}

func readGeminiTurn(body []byte) (modelTurn, error) {
	var q struct {
		Tools    []struct{ FunctionDeclarations []namedTool }
		Contents []struct {
			Parts []struct {
				FunctionResponse *struct {
					Name     string
					Response json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return modelTurn{}, err
	}
	turn := modelTurn{Results: map[string]string{}}
	for _, tool := range q.Tools {
		turn.Tools = append(turn.Tools, toolNames(tool.FunctionDeclarations)...)
	}
	for _, c := range q.Contents {
		for _, p := range c.Parts {
			if p.FunctionResponse != nil {
				turn.Results[p.FunctionResponse.Name] = string(p.FunctionResponse.Response)
			}
		}
	}
	return turn, nil
}
