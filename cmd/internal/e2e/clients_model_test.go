//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// modelAPI is what a client speaks with its model, as streams of events.
type modelAPI struct {
	Path  string                               // of a turn, with its query
	Read  func(body []byte) (modelTurn, error) // what a turn brings
	Calls func(calls []modelCall) []any        // events of an answer that wants tools
	Text  func(text string) []any              // events of an answer in words
}

// modelTurn is what counts of a request to a model.
type modelTurn struct {
	Tools   []string          // declared
	Results map[string]string // of calls, by declared tool
}

// modelCall is a tool that a model asks for.
type modelCall struct {
	Tool      string
	Arguments map[string]any
}

// conversation is a scripted model on loopback, for a client with all endpoints in one process. First it asks for a tool of each, all at once;
// then it says what came of them.
type conversation struct {
	t      *testing.T
	api    modelAPI
	visits []*clientVisit
	prefix string // of every tool of an MCP server, before the server's name

	mu      sync.Mutex
	offered [][]string // by visit; guarded by mu
	turns   int        // guarded by mu
}

// converse starts a model.
func converse(t *testing.T, api modelAPI, prefix string, visits []*clientVisit) (m *conversation, address string) {
	t.Helper()
	m = &conversation{t: t, api: api, visits: visits, prefix: prefix, offered: make([][]string, len(visits))}
	s := httptest.NewServer(m)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return m, s.URL
}

// serverAlias is what clients call the endpoint of a visit. It is short: Gemini CLI cuts the middle out of declared names over 63 bytes.
func serverAlias(i int) string { return fmt.Sprintf("e%d", i) }

// declared is how the client names a tool of a visit to its model.
func (m *conversation) declared(i int, tool string) string {
	return m.prefix + serverAlias(i) + "_" + tool
}

// ServeHTTP answers one turn.
func (m *conversation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != m.api.Path {
		m.t.Errorf("the model was asked for %s %s: %v", r.Method, r.URL.RequestURI(), err)
		http.Error(w, "not scripted", http.StatusNotFound)
		return
	}
	turn, err := m.api.Read(body)
	if err != nil {
		m.t.Errorf("the model was asked: %v: %s", err, body)
		http.Error(w, "not scripted", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range m.turn(turn) {
		b, _ := json.Marshal(e)           //nolint:errcheck // maps of plain values
		fmt.Fprintf(w, "data: %s\n\n", b) //nolint:errcheck // the client is gone or not
	}
}

func (m *conversation) turn(turn modelTurn) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns++
	if len(turn.Results) > 0 {
		b, _ := json.Marshal(turn.Results) //nolint:errcheck // a map of strings
		return m.api.Text("DONE " + string(b))
	}
	calls := []modelCall{}
	for i, v := range m.visits {
		m.offered[i] = []string{}
		for _, name := range turn.Tools {
			if own, ok := strings.CutPrefix(name, m.declared(i, "")); ok {
				m.offered[i] = append(m.offered[i], own)
			}
		}
		if !slices.Contains(m.offered[i], v.tool()) {
			m.t.Errorf("%s: the model isn't offered %s, only %q", v.clientDoor.Name, v.tool(), m.offered[i])
			continue
		}
		calls = append(calls, modelCall{m.declared(i, v.tool()), v.Arguments()})
	}
	return m.api.Calls(calls)
}

// said takes the model's last words from what the client printed.
func (m *conversation) said(printed string) []clientSaid {
	m.t.Helper()
	_, text, ok := strings.Cut(printed, "DONE ")
	results := map[string]string{}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&results); !ok || err != nil {
		m.t.Errorf("it printed %q: %v", printed, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turns != 2 {
		m.t.Errorf("the model had %d turns, not a call and its result", m.turns)
	}
	said := []clientSaid{}
	for i, v := range m.visits {
		said = append(said, clientSaid{Tools: m.offered[i], Result: results[m.declared(i, v.tool())], Text: printed})
	}
	return said
}
