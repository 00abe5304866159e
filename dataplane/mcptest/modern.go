package mcptest

import (
	"fmt"
	"net/http"
	"strings"
)

// Modern speaks MCP 2026-07-28 only: no handshake, discovery, and subscriptions/listen, whose stream lasts until the caller or the test ends
// it. What is sent on Notes shows on every such stream.
type Modern struct {
	Notes chan string // may be nil
}

// ServeHTTP answers one request.
func (s *Modern) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	m := Read(r)
	switch m.Method {
	case "initialize":
		Refuse(w, m, http.StatusBadRequest, -32022, `{"supported":["2026-07-28"],"requested":"2025-11-25"}`)
	case "server/discover":
		Result(w, m, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}`)
	case "subscriptions/listen":
		s.listen(w, r, m)
	default:
		Result(w, m, `{"resultType":"complete",`+strings.TrimPrefix(Text("modern"), "{"))
	}
}

func (s *Modern) listen(w http.ResponseWriter, r *http.Request, m Message) {
	w.Header().Set("Content-Type", "text/event-stream")
	Event(w, "", fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, id(m)))
	for {
		select {
		case n := <-s.Notes:
			Event(w, "", n)
		case <-r.Context().Done():
			return
		}
	}
}

// Legacy speaks the handshake revisions only, without sessions: it doesn't know server/discover.
func Legacy() http.Handler {
	known := Stateless()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := Peek(r); m.Method == "server/discover" {
			Refuse(w, m, http.StatusOK, -32601, "null")
			return
		}
		known.ServeHTTP(w, r)
	})
}

// Refuse writes a JSON-RPC error; data is raw JSON.
func Refuse(w http.ResponseWriter, m Message, status, code int, data string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"refused","data":%s}}`, id(m), code, data)
}
