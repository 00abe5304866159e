//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// clientLimit is what one run of a client may take on a busy machine.
const clientLimit = 45 * time.Second

// nowhere is the proxy for what clients with ideas of their own would send elsewhere: a port that is closed.
const nowhere = "http://127.0.0.1:9"

// client is a program with a home of its own that holds a file for it.
func (v *clientVisit) client(t *testing.T, file, content string, env []string, args ...string) program {
	t.Helper()
	home := t.TempDir()
	if file != "" {
		path := filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, _, _ := strings.Cut(v.bed.Listen, ":")
	env = append([]string{"HOME=" + home, "NO_COLOR=1", "HTTPS_PROXY=" + nowhere, "NO_PROXY=localhost,127.0.0.1," + host}, env...)
	return program{Name: v.clientKind.Name, Dir: home, Args: args, Env: env}
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// inspectorCLI lists and calls with the Inspector's command line.
func inspectorCLI(era string) func(t *testing.T, v *clientVisit) clientSaid {
	return func(t *testing.T, v *clientVisit) clientSaid {
		transport := "http"
		if v.SSE {
			transport = "sse"
		}
		return v.inspector(t, "", "", []string{v.Address(), "--transport", transport, "--protocol-era", era, "--stored-auth-only", "--header", v.HeaderLine()})
	}
}

func (v *clientVisit) inspector(t *testing.T, file, content string, target []string) clientSaid {
	t.Helper()
	ask := func(more ...string) string {
		args := append([]string{node(t), npm(t, ".bin", "mcp-inspector"), "--cli"}, append(append(target, "--quiet", "--format", "json"), more...)...)
		return must(t, clientLimit, v.client(t, file, content, nil, args...), "")
	}
	said := clientSaid{Tools: inspectedTools(t, ask("--method", "tools/list"))}
	said.Result = ask("--method", "tools/call", "--tool-name", v.tool(), "--tool-args-json", inJSON(t, v.Arguments()))
	return said
}

// mcpRemoteBridge is mcp-remote as desktop clients use it, as a server on stdio; the Inspector drives it.
func mcpRemoteBridge(t *testing.T, v *clientVisit) clientSaid {
	config := map[string]any{"mcpServers": map[string]any{"gate": map[string]any{"command": node(t),
		"args": append([]string{npm(t, "mcp-remote", "dist", "proxy.js")}, v.mcpRemote()...)}}}
	return v.inspector(t, "mcp.json", inJSON(t, config), []string{"--config", "mcp.json", "--server", "gate"})
}

func (v *clientVisit) mcpRemote() []string {
	transport := "http-only"
	if v.SSE {
		transport = "sse-only"
	}
	return []string{v.Address(), "--header", v.HeaderLine(), "--transport", transport, "--allow-http"}
}

// mcpRemoteClient is mcp-remote's own client, which lists and ends.
func mcpRemoteClient(t *testing.T, v *clientVisit) clientSaid {
	res := runHeld(t, clientLimit, v.client(t, "", "", nil, append([]string{node(t), npm(t, "mcp-remote", "dist", "client.js")}, v.mcpRemote()...)...))
	_, list, ok := strings.Cut(res.Err, "Tools: ")
	var m struct{ Tools []namedTool }
	if err := json.NewDecoder(strings.NewReader(list)).Decode(&m); !ok || err != nil || res.Code != 0 {
		t.Fatalf("no tools (%v): %v", err, res)
	}
	return clientSaid{Tools: toolNames(m.Tools), Text: res.Err}
}

// runHeld runs a program whose standard input stays open until it ends.
func runHeld(t *testing.T, limit time.Duration, p program) result {
	t.Helper()
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()   //nolint:errcheck // nothing was written
	defer hold.Close() //nolint:errcheck // nothing was written
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := p.command(ctx, t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	began := time.Now()
	err = cmd.Run()
	res := result{Out: out.String(), Err: errs.String(), Took: time.Since(began), Code: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		t.Fatalf("%s didn't end within %s (%v): %v", p.Name, limit, err, res)
	}
	return res
}

func mcporter(t *testing.T, v *clientVisit) clientSaid {
	config := inJSON(t, map[string]any{"mcpServers": map[string]any{"gate": map[string]any{"baseUrl": v.Address(), "headers": v.Header()}}})
	ask := func(args ...string) string {
		args = append([]string{node(t), npm(t, ".bin", "mcporter"), "--config", "mcporter.json"}, args...)
		return must(t, clientLimit, v.client(t, "mcporter.json", config, nil, args...), "")
	}
	listed := ask("list", "gate", "--json")
	var m struct {
		Status string
		Tools  []namedTool
	}
	if err := json.Unmarshal([]byte(listed), &m); err != nil || m.Status != "ok" {
		t.Fatalf("%v: %s", err, listed)
	}
	return clientSaid{Tools: toolNames(m.Tools), Result: ask("call", "--server", "gate", "--tool", v.tool(), "--args", inJSON(t, v.Arguments()))}
}

var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func connected(t *testing.T, p program, visits []*clientVisit, says func(i int, v *clientVisit) string) []clientSaid {
	t.Helper()
	res := run(t, clientLimit, p, "")
	text := colours.ReplaceAllString(res.Out+res.Err, "")
	for i, v := range visits {
		if res.Code != 0 || !regexp.MustCompile(says(i, v)).MatchString(text) {
			t.Errorf("%s: it doesn't say %s: %v", v.clientDoor.Name, says(i, v), res)
		}
	}
	return make([]clientSaid, len(visits))
}
