//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// reading is something that a client reads of an endpoint of several servers, and how the server knows it.
type reading struct {
	Method, Flag, Name string // as the endpoint shows it
	Server, Own        string // whose it is, and what that server received
	Says               string // in the answer
}

func readings() []reading {
	return []reading{
		{"resources/read", "--uri", "demo://npm_everything~resource/static/document/architecture.md", npmServer,
			`"uri":"demo://resource/static/document/architecture.md"`, "Architecture"},
		{"resources/read", "--uri", "demo://npm_everything~resource/dynamic/text/7", npmServer, `"uri":"demo://resource/dynamic/text/7"`, "Resource 7"},
		{"resources/read", "--uri", "test://sdk_stateless~static-text", stateless, `"uri":"test://static-text"`, "static text resource"},
		{"prompts/get", "--prompt-name", "npm_everything-simple-prompt", npmServer, `"name":"simple-prompt"`, "without arguments"},
		{"prompts/get", "--prompt-name", "sdk_stateless-test_simple_prompt", stateless, `"name":"test_simple_prompt"`, "simple prompt"},
	}
}

func TestRealClientReadsResourcesAndPromptsOfSeveralServers(t *testing.T) {
	visits := []*clientVisit{}
	for _, d := range clientDoors() {
		if d.Name == "aggregate" || d.Name == "sse_aggregate" {
			visits = append(visits, newClientVisit(clientKind{Name: "inspector", Revision: "2025-11-25"}, d))
		}
	}
	bed := startClientBed(t, visits)
	for _, v := range visits {
		ask := v.inspectorAsk(t)
		shown := ask("--method", "resources/list") + ask("--method", "resources/templates/list") + ask("--method", "prompts/list")
		for _, r := range readings() {
			if !strings.Contains(shown, `"`+r.Name+`"`) && !strings.Contains(r.Name, "dynamic") {
				t.Errorf("%s: %s isn't listed", v.clientDoor.Name, r.Name)
			}
			before := bed.asked(r.Method, r.Own)
			answer := ask("--method", r.Method, r.Flag, r.Name)
			if !strings.Contains(answer, r.Says) || r.Flag == "--uri" && !slices.Equal(readURIs(t, answer), []string{r.Name}) {
				t.Errorf("%s: %s of %s says %s", v.clientDoor.Name, r.Method, r.Name, answer)
			}
			if got := bed.asked(r.Method, r.Own); len(got) != len(before)+1 || got[len(got)-1] != r.Server {
				t.Errorf("%s: %s of %s came to %q, before %q", v.clientDoor.Name, r.Method, r.Name, got, before)
			}
		}
	}
}

// inspectorAsk runs the Inspector's command line for a visit.
func (v *clientVisit) inspectorAsk(t *testing.T) func(more ...string) string {
	transport := "http"
	if v.SSE {
		transport = "sse"
	}
	target := []string{node(t), npm(t, ".bin", "mcp-inspector"), "--cli", v.Address(), "--transport", transport, "--header", v.HeaderLine(), "--stored-auth-only",
		"--quiet", "--format", "json"}
	return func(more ...string) string {
		return must(t, clientLimit, v.client(t, "", "", nil, slices.Concat(target, more)...), "")
	}
}

// readURIs are the URIs of the contents of an answer.
func readURIs(t *testing.T, answer string) []string {
	t.Helper()
	var m struct {
		Result struct{ Contents []struct{ URI string } }
	}
	if err := json.Unmarshal([]byte(answer), &m); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	uris := []string{}
	for _, c := range m.Result.Contents {
		uris = append(uris, c.URI)
	}
	return uris
}

// asked returns the servers that received a method with a text, in order.
func (b *clientBed) asked(method, text string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	servers := []string{}
	for _, m := range b.tapped {
		if m.Method == method && strings.Contains(m.Body, text) {
			servers = append(servers, m.Server)
		}
	}
	return servers
}
