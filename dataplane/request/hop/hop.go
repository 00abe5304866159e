// Package hop is the upstream leg: it builds the outbound request from nothing, sends it, and says what kind of answer came.
//
// It promises that no inbound header travels unless it is named here or comes from the credential stage, that each leg of a call carries the
// same credential, that a call that may have run is never sent twice unless its maker says that it may be, that an instance which can't be
// reached is left alone for a while, and that every failure is a *fault.Error naming the phase. It refuses redirects, pages that aren't MCP,
// bodies without an end, and to send a call without a part of its credential.
package hop

import (
	"net/http"
	"strings"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/sse"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Hop sends calls to MCP servers. Safe for concurrent use.
type Hop struct {
	client  *transport.Client
	agent   string
	memory  memory
	balance *balance.Balance
	fields  sync.Pool // *[]byte
	events  *sse.Hub  // sessions of servers of transport sse
	owner   func() string
}

// New returns a hop over a client. version goes into the User-Agent upstreams see.
func New(client *transport.Client, version string) *Hop {
	h := &Hop{client: client, agent: "hopgate/" + version, balance: balance.New(nil),
		fields: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}}
	h.events = sse.New(sse.Config{Owner: h.address})
	return h
}

// Field is one header that travels because the protocol says so.
type Field struct{ Name, Value string }

// Call is one HTTP exchange with an upstream, described by what the protocol needs.
type Call struct {
	Server   *table.Server
	Settings *table.Settings
	// Principal is the id of who calls; what is kept or waits for the call counts as theirs. Empty: nobody's.
	Principal string
	Method    string // POST, GET, DELETE
	Body      []byte // of a POST
	// Session is the upstream's own session id; empty for none.
	Session string
	// Revision goes out as MCP-Protocol-Version; empty: not sent.
	Revision string
	// MCPMethod and MCPName mirror the body in revision 2026-07-28; empty: not sent.
	MCPMethod, MCPName string
	// Params are validated Mcp-Param-* headers, forwarded untouched (SEP-2243).
	Params []Field
	// LastEventID resumes a stream.
	LastEventID string
	// Credential is what the server wants beside MCP, resolved and checked. Read only; nil for none. One-shot legs and Goodbye carry it, too.
	Credential []credential.Field
	// Traceparent and Tracestate of our CLIENT span.
	Traceparent, Tracestate string
	// Stream marks long-lived answers: no idle and no total limit, and no part in the limit of calls at once.
	Stream bool
	// Instance is the Target.ID to call, and no other one will do: the session is there. 0: any; then Send sets it to the one that was called.
	Instance uint32
	// Capabilities and ClientInfo are what the caller's client says of itself, raw JSON, for a session of one call; nil: nobody knows.
	Capabilities, ClientInfo []byte
	// Repeatable says that the call may run twice: lists, discovery, the handshake of a leg, tools that call themselves idempotent or read-only.
	Repeatable bool
}

// Answer is the head of what came back, with its body still to read. Close it once.
type Answer struct {
	Status int
	Header transport.Header
	Type   transport.ContentType
	Body

	session string // of transport sse
}

// Body is what follows the head. One goroutine uses it at a time.
type Body interface {
	// Read is io.Reader; it fails with a *fault.Error at the limit for results.
	Read(p []byte) (int, error)
	// ReadAll appends the whole body to dst, at most limit bytes (0: the limit for results).
	ReadAll(dst []byte, limit int64) ([]byte, error)
	// NextEvent appends the next server-sent event to dst, byte for byte, io.EOF at a clean end.
	NextEvent(dst []byte, limit int64) ([]byte, error)
	// Length is what the head says; -1: unknown.
	Length() int64
	// Close ends the exchange.
	Close()
}

// Session is the session id an upstream gives with its answer to initialize; empty for none. One that looks like an id of our own is none: it
// could name a data plane to which calls would be handed.
func (a *Answer) Session() string {
	if a.session != "" {
		return a.session
	}
	id := a.Header.Get("Mcp-Session-Id")
	if strings.HasPrefix(id, sse.Prefix) {
		return ""
	}
	return id
}

// keepDial lets the last leg of a one-shot call tell how its connection was made, which the initialize before it did.
func keepDial(now, before *telemetry.Timing) {
	if !now.Reused || before.Reused || before.ConnDone.IsZero() {
		return
	}
	now.Reused, now.Start = false, before.Start
	now.DNSStart, now.DNSDone, now.ConnStart, now.ConnDone = before.DNSStart, before.DNSDone, before.ConnStart, before.ConnDone
	now.TLSStart, now.TLSDone = before.TLSStart, before.TLSDone
}

// named puts the server into a fault of the transport.
func named(err error, server string) error {
	if f := fault.As(err); f != nil {
		f.Server = server
	}
	return err
}

func (h *Hop) appendFields(b []byte, c *Call) []byte {
	b = appendField(b, "User-Agent", h.agent)
	switch c.Method {
	case http.MethodPost:
		b = append(b, "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"...)
	case http.MethodGet:
		b = append(b, "Accept: text/event-stream\r\n"...)
	}
	b = appendField(b, "MCP-Protocol-Version", c.Revision)
	b = appendField(b, "Mcp-Session-Id", c.Session)
	b = appendField(b, "Mcp-Method", c.MCPMethod)
	b = appendField(b, "Mcp-Name", c.MCPName)
	for i := range c.Params {
		b = appendField(b, c.Params[i].Name, c.Params[i].Value)
	}
	b = appendField(b, "Last-Event-ID", c.LastEventID)
	b = appendField(b, "traceparent", c.Traceparent)
	b = appendField(b, "tracestate", c.Tracestate)
	for i := range c.Credential {
		b = appendField(b, c.Credential[i].Name, c.Credential[i].Value)
	}
	return b
}

// appendField adds a header line; a value with a control character is left out, so that no line can be smuggled in.
func appendField(b []byte, name, value string) []byte {
	if value == "" || !clean(value) {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func clean(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
