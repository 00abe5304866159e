//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// codex is the app server of Codex, which editors drive by JSON-RPC on stdio. It lists and calls tools without a model.
func codex(t *testing.T, v *clientVisit) clientSaid {
	config := fmt.Sprintf("[mcp_servers.gate]\nurl = %q\nhttp_headers = { \"x-litellm-api-key\" = %q }\n", v.Address(), v.Header()["x-litellm-api-key"])
	app := startAppServer(t, v.client(t, filepath.Join(".codex", "config.toml"), config, nil, npm(t, ".bin", "codex"), "app-server"))
	me := map[string]any{"name": "e2e", "version": "1"}
	app.ask("initialize", map[string]any{"clientInfo": me, "capabilities": map[string]any{"experimentalApi": true}}, nil)
	app.tell("initialized")
	var status struct {
		Data []struct {
			Name  string
			Tools map[string]json.RawMessage
		}
	}
	app.ask("mcpServerStatus/list", map[string]any{}, &status)
	if len(status.Data) != 1 || status.Data[0].Name != "gate" {
		t.Fatalf("mcpServerStatus/list: %+v", status)
	}
	var begun struct{ Thread struct{ ID string } }
	app.ask("thread/start", map[string]any{"ephemeral": true}, &begun)
	var result json.RawMessage
	app.ask("mcpServer/tool/call", map[string]any{"server": "gate", "threadId": begun.Thread.ID, "tool": v.tool(), "arguments": v.Arguments()}, &result)
	app.end()
	return clientSaid{Tools: slices.Collect(maps.Keys(status.Data[0].Tools)), Result: string(result)}
}

// appServer is a program that speaks JSON-RPC by lines.
type appServer struct {
	t     *testing.T
	in    io.WriteCloser
	lines *bufio.Scanner
	wait  func() error
	last  int
}

func startAppServer(t *testing.T, p program) *appServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	t.Cleanup(cancel)
	cmd := p.command(ctx, t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &appServer{t: t, in: in, lines: bufio.NewScanner(out), wait: cmd.Wait}
	s.lines.Buffer(nil, 8<<20)
	return s
}

func (s *appServer) write(m map[string]any) {
	s.t.Helper()
	m["jsonrpc"] = "2.0"
	if _, err := io.WriteString(s.in, inJSON(s.t, m)+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *appServer) tell(method string) { s.write(map[string]any{"method": method}) }

// ask waits for the answer to a request; notifications in between are left out.
func (s *appServer) ask(method string, params, into any) {
	s.t.Helper()
	s.last++
	s.write(map[string]any{"id": s.last, "method": method, "params": params})
	for s.lines.Scan() {
		var m struct {
			ID     json.RawMessage
			Method string
			Result json.RawMessage
			Error  json.RawMessage
		}
		if json.Unmarshal(s.lines.Bytes(), &m) != nil || m.Method != "" || string(m.ID) != fmt.Sprint(s.last) {
			continue
		}
		if m.Error != nil {
			s.t.Fatalf("%s: %s", method, m.Error)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(m.Result, into); err != nil {
			s.t.Fatalf("%s: %v: %s", method, err, m.Result)
		}
		return
	}
	s.t.Fatalf("%s: it ended without an answer: %v", method, s.lines.Err())
}

// end lets it end in peace.
func (s *appServer) end() {
	s.t.Helper()
	s.in.Close() //nolint:errcheck // its end is what counts
	for s.lines.Scan() {
	}
	if err := s.wait(); err != nil {
		s.t.Errorf("it ended with %v", err)
	}
}
