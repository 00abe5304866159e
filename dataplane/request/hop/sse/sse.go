// Package sse carries calls over the HTTP+SSE transport of MCP 2024-11-05 as if they were made over Streamable HTTP: one long-lived GET stream
// per session on which the server says where to POST, and on which all that it has to say comes.
//
// It promises that an answer reaches the request it answers and no other, also when two requests of one session have the same id; that
// progress reaches the request whose token it names; that what belongs to no request reaches the session's GET stream, or a call under way that
// can take it, or waits for one of them (a ping that nobody can hear is answered here); that sessions, what waits in them, and the goroutines
// they need are bounded and end with Close; and that no principal can take all the sessions there may be.
// It refuses endpoints of another origin, and to send anything of a session to another server than the one that began it.
//
// Sessions live in the memory of this process. Their ids tell whose memory that is.
package sse

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// Defaults of Config.
const (
	DefaultMost             = 1000
	DefaultMostPerServer    = 500
	DefaultMostPerPrincipal = 100 // as many as the streams that a principal may hold unless Settings say otherwise
	DefaultIdle             = 30 * time.Minute
	DefaultStall            = 10 * time.Second
)

// What of the server's messages may wait in a session, for those who listen and for those who may come. One message may always.
const (
	mostWaiting = 64
	mostBytes   = 4 << 20
)

// Config bounds a Hub. The zero value takes the defaults.
type Config struct {
	// Most, MostPerServer and MostPerPrincipal bound the sessions that are open at once.
	Most, MostPerServer, MostPerPrincipal int
	// Idle ends a session whose caller sends nothing, waits for nothing and holds no stream.
	Idle time.Duration
	// Stall is how long a stream waits for a reader that doesn't keep up before the session is ended.
	Stall time.Duration
	// Owner is the address at which other data planes reach this one; nil or empty: they don't.
	Owner func() string
}

// Body is what follows the head of an answer, with the meaning of hop.Body.
type Body interface {
	Read(p []byte) (int, error)
	ReadAll(dst []byte, limit int64) ([]byte, error)
	NextEvent(dst []byte, limit int64) ([]byte, error)
	Length() int64
	Close()
}

// Reply is one HTTP exchange as a Way made it.
type Reply struct {
	Status int
	Header transport.Header
	Type   transport.ContentType
	Body   Body
	// Timing as far as the head, Attempts how often it was tried, Target where.
	Timing   telemetry.Timing
	Attempts int
	Target   *table.Target
	// Done ends the exchange's part in the server's calls under way. It is called once.
	Done func()
}

// Way makes the HTTP exchanges of one call. Its methods may be called from several goroutines, also after Send has returned.
type Way interface {
	// Get opens the stream of any instance; it lasts as long as ctx.
	Get(ctx context.Context) (Reply, error)
	// Post sends a message to a session's endpoint at an instance.
	Post(ctx context.Context, instance uint32, to *table.Target, body []byte) (Reply, error)
}

// Call is one exchange of Streamable HTTP.
type Call struct {
	Server *table.Server
	// Principal is the id of who calls, and a session that the call opens counts as theirs; empty: nobody's.
	Principal string
	Method    string // POST, GET or DELETE
	Body      []byte // of a POST; not kept
	// Session is an id that an Answer had; empty for none.
	Session string
	// EventLimit bounds each of the server's events, in bytes; 0 is no limit.
	EventLimit int64
	// Timing is filled until the answer's body is closed. Attempts is set to how often the exchange was tried.
	Timing   *telemetry.Timing
	Attempts int
}

// Answer is the head of what came back, with its body still to read. Close it once.
type Answer struct {
	Status   int
	Header   transport.Header
	Type     transport.ContentType
	Session  string // with the answer to initialize
	Instance uint32 // that was called; 0: none
	Body
}

// Hub holds the sessions of one data plane. Safe for concurrent use.
type Hub struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*session // guarded by mu
	count    map[string]int      // by server, those being opened included; guarded by mu
	share    map[string]int      // by principal, likewise; guarded by mu
	total    int                 // guarded by mu
	closed   bool                // guarded by mu
}

// New returns a hub without sessions.
func New(cfg Config) *Hub {
	if cfg.Most <= 0 {
		cfg.Most = DefaultMost
	}
	if cfg.MostPerServer <= 0 {
		cfg.MostPerServer = DefaultMostPerServer
	}
	if cfg.MostPerPrincipal <= 0 {
		cfg.MostPerPrincipal = DefaultMostPerPrincipal
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Stall <= 0 {
		cfg.Stall = DefaultStall
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub{cfg: cfg, ctx: ctx, cancel: cancel, sessions: map[string]*session{}, count: map[string]int{}, share: map[string]int{}}
}

// Close ends all sessions and returns when everything they needed has ended. Nothing can be opened afterwards.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	all := make([]*session, 0, len(h.sessions))
	for _, s := range h.sessions {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.end(stopping(s.server))
	}
	h.cancel()
	h.tasks.Wait()
}

// Sessions is how many are open, those being opened included.
func (h *Hub) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// run starts f in a goroutine that Close waits for, unless it has begun.
func (h *Hub) run(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tasks.Go(f)
	return true
}

// Send makes the exchange. It returns when it is known how the answer begins: the response, a message before it, or the server's refusal. Errors
// are *fault.Error or the end of ctx. A session that isn't known is an answer with status 404.
func (h *Hub) Send(ctx context.Context, c *Call, way Way) (Answer, error) {
	var e message.Envelope
	if c.Method == http.MethodPost && !reads(c.Body, &e) {
		return refusal(http.StatusBadRequest, nil, codeInvalid, "the message isn't one of JSON-RPC"), nil
	}
	if c.Session == "" {
		return h.begin(ctx, c, way, &e)
	}
	s := h.find(c)
	if s == nil {
		return unknown(c.Body, &e), nil
	}
	switch c.Method {
	case http.MethodGet:
		return s.listen(ctx, c), nil
	case http.MethodDelete:
		s.end(ended(s.server))
		return Answer{Status: http.StatusOK, Instance: s.instance, Body: &whole{}}, nil
	}
	return s.post(ctx, c, way, &e)
}

func reads(body []byte, e *message.Envelope) bool {
	return message.Scan(body, message.MaxDepth, e) == nil
}

// find returns the session that a call names, if it is one with that server.
func (h *Hub) find(c *Call) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[c.Session]
	if s == nil || s.server != c.Server.Name {
		return nil
	}
	return s
}

// begin is a call without a session: only initialize can be one.
func (h *Hub) begin(ctx context.Context, c *Call, way Way, e *message.Envelope) (Answer, error) {
	switch {
	case c.Method == http.MethodGet:
		return refusal(http.StatusMethodNotAllowed, nil, codeInvalid, "a stream of this server belongs to a session"), nil
	case c.Method == http.MethodPost && e.Kind == message.Request && e.MethodString(c.Body) == "initialize":
		return h.open(ctx, c, way, e)
	}
	return refusal(http.StatusBadRequest, e.ID.Of(c.Body), codeInvalid, "this server keeps state in sessions: initialize first, and send the Mcp-Session-Id"), nil
}

// unknown answers a call for a session that isn't here, in the words of Streamable HTTP.
func unknown(body []byte, e *message.Envelope) Answer {
	var id []byte
	if e.Kind == message.Request {
		id = e.ID.Of(body)
	}
	return refusal(http.StatusNotFound, id, codeSession, "Session not found")
}
