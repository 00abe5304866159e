package mcptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// RichModern is the twin of Rich that speaks 2026-07-28 only: discovery, lists that say how long they hold and for whom, subscriptions/listen,
// results that ask for input. Its fields are set before it is started.
type RichModern struct {
	// TTL (milliseconds) and Scope of lists and discovery; an empty Scope is public.
	TTL   int
	Scope string
	// Mute tells no changes of lists.
	Mute bool
	// Lists of items as raw JSON, in pages of PageSize (0: whole).
	Tools, Prompts, Resources, Templates []string
	PageSize                             int
	// Do is what calls do, by name or URI: it returns a result without its braces, like `"resultType":"complete","content":[]`.
	Do map[string]func(m Message) string

	mu    sync.Mutex
	hears map[*hearing]struct{} // guarded by mu
}

// hearing is one open subscriptions/listen stream.
type hearing struct {
	id    string
	wants string // the notifications asked for, as raw JSON
	notes chan string
}

// ServeHTTP answers one request.
func (s *RichModern) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	m := Read(r)
	if m.Method != "initialize" && !s.agrees(w, r, m) {
		return
	}
	switch m.Method {
	case "initialize":
		Refuse(w, m, http.StatusBadRequest, -32022, `{"supported":["2026-07-28"],"requested":"2025-11-25"}`)
	case "server/discover":
		Result(w, m, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":`+
			fmt.Sprintf(`{"tools":{"listChanged":%[1]v},"prompts":{"listChanged":%[1]v},"resources":{"listChanged":%[1]v,"subscribe":true}},`, !s.Mute)+s.hints()+`}`)
	case "tools/list":
		s.list(w, m, "tools", s.Tools)
	case "prompts/list":
		s.list(w, m, "prompts", s.Prompts)
	case "resources/list":
		s.list(w, m, "resources", s.Resources)
	case "resources/templates/list":
		s.list(w, m, "resourceTemplates", s.Templates)
	case "tools/call", "prompts/get", "resources/read":
		s.call(w, m)
	case "subscriptions/listen":
		s.listen(w, r, m)
	default:
		Refuse(w, m, http.StatusNotFound, -32601, "null")
	}
}

// mirrored are the methods whose subject a header repeats.
var mirrored = []string{"tools/call", "prompts/get", "resources/read"}

// agrees checks that the headers repeat the body, as servers of that revision must.
func (s *RichModern) agrees(w http.ResponseWriter, r *http.Request, m Message) bool {
	meta := member(m.Params, "_meta")
	version, _ := strconv.Unquote(string(member(meta, "io.modelcontextprotocol/protocolVersion"))) //nolint:errcheck // empty then
	switch {
	case len(member(meta, "io.modelcontextprotocol/clientCapabilities")) == 0:
		Refuse(w, m, http.StatusBadRequest, -32602, `"_meta"`)
	case r.Header.Get("Mcp-Protocol-Version") != version || version != "2026-07-28":
		Refuse(w, m, http.StatusBadRequest, -32020, `"Mcp-Protocol-Version"`)
	case r.Header.Get("Mcp-Method") != m.Method:
		Refuse(w, m, http.StatusBadRequest, -32020, `"Mcp-Method"`)
	case slices.Contains(mirrored, m.Method) && Header(r.Header.Get("Mcp-Name")) != subject(m):
		Refuse(w, m, http.StatusBadRequest, -32020, `"Mcp-Name"`)
	default:
		return true
	}
	return false
}

func (s *RichModern) hints() string {
	scope := s.Scope
	if scope == "" {
		scope = "public"
	}
	return fmt.Sprintf(`"ttlMs":%d,"cacheScope":%q`, s.TTL, scope)
}

func (s *RichModern) list(w http.ResponseWriter, m Message, name string, items []string) {
	items, next := cut(m, items, s.PageSize)
	Result(w, m, `{"resultType":"complete","`+name+`":`+array(items)+next+`,`+s.hints()+`}`)
}

func (s *RichModern) call(w http.ResponseWriter, m Message) {
	if do := s.Do[subject(m)]; do != nil {
		Result(w, m, `{`+do(m)+`}`)
		return
	}
	Result(w, m, `{"resultType":"complete",`+strings.TrimPrefix(ordinary(m), "{"))
}

func (s *RichModern) listen(w http.ResponseWriter, r *http.Request, m Message) {
	h := &hearing{id: id(m), wants: string(member(m.Params, "notifications")), notes: make(chan string, 16)}
	w.Header().Set("Content-Type", "text/event-stream")
	Event(w, "", `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`+h.wants+`,`+h.mark()+`}}`)
	s.mu.Lock()
	if s.hears == nil {
		s.hears = map[*hearing]struct{}{}
	}
	s.hears[h] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.hears, h)
		s.mu.Unlock()
	}()
	for {
		select {
		case n := <-h.notes:
			Event(w, "", n)
		case <-r.Context().Done():
			return
		}
	}
}

func (h *hearing) mark() string {
	return `"_meta":{"io.modelcontextprotocol/subscriptionId":` + h.id + `}`
}

// Push tells all who listen; params are raw members.
func (s *RichModern) Push(method, params string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range s.hears {
		more := h.mark()
		if params != "" {
			more = params + "," + more
		}
		h.notes <- fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":{%s}}`, method, more)
	}
}

// Wanted returns what the open subscriptions ask for, as raw JSON, sorted.
func (s *RichModern) Wanted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for h := range s.hears {
		out = append(out, h.wants)
	}
	slices.Sort(out)
	return out
}

// Header is the text that a mirroring header stands for (2026-07-28, headers: =?base64?…?=).
func Header(v string) string {
	coded, marked := strings.CutPrefix(v, "=?base64?")
	coded, ended := strings.CutSuffix(coded, "?=")
	if !marked || !ended {
		return v
	}
	var text []byte
	json.Unmarshal([]byte(`"`+coded+`"`), &text) //nolint:errcheck // empty then
	return string(text)
}
