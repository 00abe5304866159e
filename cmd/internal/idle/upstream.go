package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// serveUpstream is an MCP server of revision 2025-11-25 with sessions that does next to nothing: it answers initialize and tools/call, and
// holds every GET stream open without a word.
func serveUpstream(addr string) error {
	u := &upstream{gone: make(chan struct{})}
	s := &http.Server{Addr: addr, Handler: u, ReadHeaderTimeout: 10 * time.Second}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		close(u.gone)
		s.Close() //nolint:errcheck // the process ends
	}()
	return s.ListenAndServe()
}

type upstream struct {
	sessions atomic.Int64
	gone     chan struct{}
}

// ServeHTTP answers one request.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		select {
		case <-r.Context().Done():
		case <-u.gone:
		}
	case http.MethodPost:
		u.post(w, r)
	}
}

func (u *upstream) post(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // half a body has no method
	if json.Unmarshal(body, &m) != nil || m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := `{"content":[{"type":"text","text":"hello"}]}`
	if m.Method == "initialize" {
		w.Header().Set("Mcp-Session-Id", strconv.FormatInt(u.sessions.Add(1), 16))
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"quiet","version":"1"}}`
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`) //nolint:errcheck // the caller counts what it gets
}
