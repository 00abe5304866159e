// Package mcptest holds small real MCP servers for tests: well-behaved ones of both eras, and ones that misbehave in every way a hop can fail.
//
// It promises real sockets on loopback and answers that depend on nothing but the request. It refuses to be used outside tests.
package mcptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Upstream is a running server that remembers what it was asked.
type Upstream struct {
	// URL of the endpoint.
	URL string

	mu   sync.Mutex
	seen []Seen // guarded by mu
}

// Seen is one request as the server received it.
type Seen struct {
	Method string
	Path   string // with the query
	Host   string
	Header http.Header
	Body   []byte
}

// Start runs h on loopback until the test ends.
func Start(t testing.TB, h http.Handler) *Upstream {
	t.Helper()
	u := &Upstream{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) //nolint:errcheck // a test server: what came is what counts
		u.mu.Lock()
		u.seen = append(u.seen, Seen{Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: r.Header.Clone(), Body: body})
		u.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	u.URL = s.URL + "/mcp"
	return u
}

// Seen returns the requests so far.
func (u *Upstream) Seen() []Seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Seen(nil), u.seen...)
}

// Await returns the first request that matches once it has come, and fails the test after ten seconds.
func (u *Upstream) Await(t testing.TB, what string, matches func(s Seen) bool) Seen {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		for _, s := range u.Seen() {
			if matches(s) {
				return s
			}
		}
	}
	t.Fatalf("%s never came", what)
	return Seen{}
}

// Message is the part of a JSON-RPC message that test servers look at.
type Message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	// Raw is the whole message.
	Raw string `json:"-"`
}

// Read parses the request's message; a test server may trust its input.
func Read(r *http.Request) Message {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // a test server: what came is what counts
	m := Message{Raw: string(body)}
	json.Unmarshal(body, &m) //nolint:errcheck // an empty message is answered like any other
	return m
}

// Peek parses the request's message and leaves the body to be read again.
func Peek(r *http.Request) Message {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // see Read
	r.Body = io.NopCloser(bytes.NewReader(body))
	m := Message{Raw: string(body)}
	json.Unmarshal(body, &m) //nolint:errcheck // see Read
	return m
}

// member is a member of raw JSON.
func member(raw json.RawMessage, name string) json.RawMessage {
	var m map[string]json.RawMessage
	json.Unmarshal(raw, &m) //nolint:errcheck // see Read
	return m[name]
}

// Result writes a JSON answer with the request's id; result is raw JSON.
func Result(w http.ResponseWriter, m Message, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id(m), result)
}

// Event writes one server-sent event and flushes it.
func Event(w http.ResponseWriter, eventID, data string) {
	if eventID != "" {
		fmt.Fprintf(w, "id: %s\n", eventID)
	}
	fmt.Fprintf(w, "event: message\ndata: %s\n\n", data)
	w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
}

// Answer returns a JSON-RPC response with the request's id as text.
func Answer(m Message, result string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id(m), result)
}

func id(m Message) string {
	if len(m.ID) == 0 {
		return "null"
	}
	return string(m.ID)
}

// Text is a tool result with one text.
func Text(s string) string {
	b, _ := json.Marshal(s) //nolint:errcheck // strings always marshal
	return `{"content":[{"type":"text","text":` + string(b) + `}]}`
}
