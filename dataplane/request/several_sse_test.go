package request_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// manyStreams is a server of transport sse that greets everybody.
type manyStreams struct {
	mu   sync.Mutex
	open []chan string // guarded by mu
}

func (m *manyStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		var n int
		fmt.Sscan(r.URL.Query().Get("s"), &n)
		m.mu.Lock()
		to := m.open[n]
		m.mu.Unlock()
		if msg := mcptest.Read(r); msg.Method == "initialize" {
			to <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}`, msg.ID)
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	said := make(chan string, 1)
	m.mu.Lock()
	fmt.Fprintf(w, "event: endpoint\ndata: /messages?s=%d\n\n", len(m.open))
	m.open = append(m.open, said)
	m.mu.Unlock()
	for {
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		select {
		case data := <-said:
			fmt.Fprintf(w, "event: message\ndata: %s\n\n", data)
		case <-r.Context().Done():
			return
		}
	}
}

// Red when one caller can take all the sessions with servers of transport sse, on endpoints of one server or of several.
func TestOneCallerHasAShareOfTheStreamsToServers(t *testing.T) {
	spec := server(mcptest.Start(t, new(manyStreams)).URL + "/sse")
	spec.Transport = "sse"
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"other": spec}})
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
	path := [...]string{"/other/mcp", "/mcp"}
	for n := range 100 {
		if got := g.send(t, "POST", path[n%2], hello); got.status != 200 || got.header.Get("Mcp-Session-Id") == "" {
			t.Fatalf("session %d: %d %s", n, got.status, got.body)
		}
	}
	got := g.send(t, "POST", "/other/mcp", hello)
	if got.status != 429 || !strings.HasPrefix(got.header.Get("X-Hopgate-Error"), "hop=client; phase=limit; kind=exhausted") {
		t.Errorf("%d %s %s", got.status, got.header.Get("X-Hopgate-Error"), got.body)
	}
	if got := g.send(t, "POST", "/mcp", hello); strings.Contains(got.body, `"ok"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := g.send(t, "POST", "/other/mcp", hello, "X-Litellm-Api-Key", "Bearer "+bob); got.status != 200 {
		t.Errorf("somebody else: %d %s", got.status, got.body)
	}
}
