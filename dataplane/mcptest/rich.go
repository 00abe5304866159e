package mcptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// Rich speaks the revisions with a handshake (2025-03-26 to 2025-11-25) and has something of everything: sessions, pages, all kinds of lists,
// streams with event ids, requests and notifications of its own. Its fields are set before it is started. The zero value keeps sessions, tells
// changes and answers as JSON.
type Rich struct {
	// Sessionless gives no session ids, and has no standalone stream then.
	Sessionless bool
	// Streams answers calls by event streams; otherwise they are JSON and what else a call says goes to the standalone stream.
	Streams bool
	// EventIDs gives events ids, from which a stream is resumed.
	EventIDs bool
	// Mute tells no changes of lists and takes no subscriptions.
	Mute bool
	// Revision is what it agrees to, empty: what the client offers.
	Revision string
	// Lists of items as raw JSON, in pages of PageSize (0: whole).
	Tools, Prompts, Resources, Templates []string
	PageSize                             int
	// Do is what calls do, by the name of the tool or prompt, or the URI of the resource. Others are answered with what came.
	Do map[string]func(c *Call)

	mu     sync.Mutex
	begun  int               // sessions so far; guarded by mu
	visits map[string]*visit // by session id; guarded by mu
}

// ServeHTTP answers one request.
func (s *Rich) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m Message
	if r.Method == http.MethodPost {
		m = Read(r)
		if m.Method == "initialize" {
			s.greet(w, m)
			return
		}
	} else if s.Sessionless {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	v := s.visitor(w, r)
	switch {
	case v == nil:
	case r.Method == http.MethodGet:
		v.stream(w, r, s.EventIDs)
	case r.Method == http.MethodDelete:
		s.Forget(r.Header.Get("Mcp-Session-Id"))
	case len(m.ID) == 0 || m.Method == "":
		v.take(m)
		w.WriteHeader(http.StatusAccepted)
	default:
		s.serve(w, r, m, v)
	}
}

func (s *Rich) greet(w http.ResponseWriter, m Message) {
	var offer struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	json.Unmarshal(m.Params, &offer) //nolint:errcheck // see Read
	if s.Revision != "" {
		offer.ProtocolVersion = s.Revision
	}
	if !s.Sessionless {
		w.Header().Set("Mcp-Session-Id", s.begin())
	}
	tells := strconv.FormatBool(!s.Mute && !s.Sessionless)
	Result(w, m, fmt.Sprintf(`{"protocolVersion":%q,"capabilities":{"tools":{"listChanged":%[2]s},"prompts":{"listChanged":%[2]s},`+
		`"resources":{"listChanged":%[2]s,"subscribe":%[2]s},"completions":{},"logging":{}},"serverInfo":{"name":"rich","version":"1"},"instructions":"be kind"}`,
		offer.ProtocolVersion, tells))
}

func (s *Rich) serve(w http.ResponseWriter, r *http.Request, m Message, v *visit) {
	switch m.Method {
	case "tools/list":
		Result(w, m, s.page(m, "tools", &s.Tools))
	case "prompts/list":
		Result(w, m, s.page(m, "prompts", &s.Prompts))
	case "resources/list":
		Result(w, m, s.page(m, "resources", &s.Resources))
	case "resources/templates/list":
		Result(w, m, s.page(m, "resourceTemplates", &s.Templates))
	case "tools/call", "prompts/get", "resources/read":
		s.call(w, r, m, v)
	case "completion/complete":
		Result(w, m, `{"completion":{"values":[`+strconv.Quote(string(m.Params))+`]}}`)
	case "ping", "resources/subscribe", "resources/unsubscribe", "logging/setLevel":
		Result(w, m, `{}`)
	default:
		Refuse(w, m, http.StatusOK, -32601, "null")
	}
}

func (s *Rich) page(m Message, member string, all *[]string) string {
	s.mu.Lock()
	items, next := cut(m, *all, s.PageSize)
	s.mu.Unlock()
	return `{"` + member + `":` + array(items) + next + `}`
}

// cut returns the page that a cursor asks for, and nextCursor as a member if there is more.
func cut(m Message, items []string, size int) (page []string, next string) {
	var p struct {
		Cursor string `json:"cursor"`
	}
	json.Unmarshal(m.Params, &p)      //nolint:errcheck // see Read
	from, _ := strconv.Atoi(p.Cursor) //nolint:errcheck // no cursor is the beginning
	if size == 0 || from+size >= len(items) {
		return items[min(from, len(items)):], ""
	}
	return items[from : from+size], fmt.Sprintf(`,"nextCursor":"%d"`, from+size)
}

func array(items []string) string {
	out := []byte{'['}
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return string(append(out, ']'))
}

func (s *Rich) call(w http.ResponseWriter, r *http.Request, m Message, v *visit) {
	c := &Call{Message: m, Request: r, visit: v}
	if s.Streams {
		c.number = v.open()
		go s.run(c)
		v.follow(w, r, s.EventIDs, c.number, 0)
		return
	}
	s.run(c)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, c.answer)
}

func (s *Rich) run(c *Call) {
	do := s.Do[subject(c.Message)]
	if do == nil {
		do = func(c *Call) { c.Answer(ordinary(c.Message)) }
	}
	do(c)
	if c.number != 0 {
		c.visit.append(c.number, c.answer, true)
	}
}

// subject is what a call is about: a name or a URI.
func subject(m Message) string {
	var p struct{ Name, URI string }
	json.Unmarshal(m.Params, &p) //nolint:errcheck // see Read
	return p.Name + p.URI
}

// ordinary is the result of a call that nothing particular is done for: what came.
func ordinary(m Message) string {
	text := strconv.Quote(string(m.Params))
	switch m.Method {
	case "prompts/get":
		return `{"messages":[{"role":"user","content":{"type":"text","text":` + text + `}}]}`
	case "resources/read":
		return `{"contents":[{"uri":` + strconv.Quote(subject(m)) + `,"text":` + text + `}]}`
	}
	return `{"content":[{"type":"text","text":` + text + `}]}`
}

func (s *Rich) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	id := "rich-" + strconv.Itoa(s.begun)
	if s.visits == nil {
		s.visits = map[string]*visit{}
	}
	s.visits[id] = newVisit()
	return id
}

func (s *Rich) visitor(w http.ResponseWriter, r *http.Request) *visit {
	if s.Sessionless {
		return newVisit()
	}
	id := r.Header.Get("Mcp-Session-Id")
	s.mu.Lock()
	v := s.visits[id]
	s.mu.Unlock()
	if v == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(map[bool]int{true: http.StatusBadRequest, false: http.StatusNotFound}[id == ""])
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`)
	}
	return v
}
