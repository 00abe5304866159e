package mcptest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Stateless answers every request at once as JSON, in either era, without sessions.
func Stateless() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		m := Read(r)
		switch m.Method {
		case "initialize":
			Result(w, m, initializeResult)
		case "server/discover":
			Result(w, m, `{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}`)
		case "tools/list":
			Result(w, m, `{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}`)
		default:
			if len(m.ID) == 0 {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			Result(w, m, Text("hello"))
		}
	})
}

const initializeResult = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"mcptest","version":"1"}}`

// Stateful keeps sessions (2025-03-26 to 2025-11-25): initialize gives an id, everything else needs it, DELETE ends it. The tool "ask" sends a
// server request on the answer's stream and waits for the caller's answer to it, whichever connection that comes by. GET is a stream on which
// "notify" shows.
type Stateful struct {
	next     atomic.Int64
	mu       sync.Mutex
	sessions map[string]*conversation // guarded by mu
}

type conversation struct {
	answers chan string
	notes   chan string
	ended   chan struct{}
}

// ServeHTTP answers one request.
func (s *Stateful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.post(w, r)
		return
	}
	c := s.find(w, r)
	if c == nil {
		return
	}
	if r.Method == http.MethodDelete {
		s.drop(r.Header.Get("Mcp-Session-Id"))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
	for {
		select {
		case n := <-c.notes:
			Event(w, "", n)
		case <-c.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Stateful) post(w http.ResponseWriter, r *http.Request) {
	m := Read(r)
	if m.Method == "initialize" {
		w.Header().Set("Mcp-Session-Id", s.begin())
		Result(w, m, initializeResult)
		return
	}
	c := s.find(w, r)
	if c == nil {
		return
	}
	switch {
	case m.Method == "": // the caller's answer to a server request
		c.answers <- string(m.ID)
		w.WriteHeader(http.StatusAccepted)
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "tools/call":
		s.call(w, r, m, c)
	default:
		Result(w, m, `{"tools":[{"name":"ask","inputSchema":{"type":"object"}}]}`)
	}
}

func (s *Stateful) call(w http.ResponseWriter, r *http.Request, m Message, c *conversation) {
	w.Header().Set("Content-Type", "text/event-stream")
	Event(w, "", `{"jsonrpc":"2.0","id":"ask-1","method":"elicitation/create","params":{"message":"really?","requestedSchema":{"type":"object","properties":{}}}}`)
	select {
	case a := <-c.answers:
		c.notes <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
		Event(w, "", Answer(m, Text("answered "+a)))
	case <-r.Context().Done():
	}
}

func (s *Stateful) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := "session-" + strconv.FormatInt(s.next.Add(1), 10)
	if s.sessions == nil {
		s.sessions = make(map[string]*conversation)
	}
	s.sessions[id] = &conversation{answers: make(chan string, 4), notes: make(chan string, 4), ended: make(chan struct{})}
	return id
}

func (s *Stateful) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[id]; c != nil {
		close(c.ended)
		delete(s.sessions, id)
	}
}

func (s *Stateful) find(w http.ResponseWriter, r *http.Request) *conversation {
	id := r.Header.Get("Mcp-Session-Id")
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[id]; c != nil {
		return c
	}
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusNotFound
	if id == "" {
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`)
	return nil
}

// Sessions returns how many sessions are open.
func (s *Stateful) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}
