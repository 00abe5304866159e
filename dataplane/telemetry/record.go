package telemetry

import (
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// Clock is the time a step happened; the zero value means it didn't.
type Clock = time.Time

// Timing is what the upstream leg measured; transport fills it as it goes. A zero time means the step didn't happen.
type Timing struct {
	Start     time.Time // the leg begins
	DNSStart  time.Time
	DNSDone   time.Time
	ConnStart time.Time
	ConnDone  time.Time
	TLSStart  time.Time
	TLSDone   time.Time
	Sent      time.Time // last byte of the request written
	Headers   time.Time // head of the answer read
	First     time.Time // first byte or event of the body
	End       time.Time // last byte, or the failure
	Reused    bool      // an idle connection was taken
	Remote    string    // peer address, host:port
}

// IDs of a trace; the record owns them from the first moment so that they can travel upstream before any span exists.
type IDs struct {
	Trace   [16]byte
	Request [8]byte // SERVER span of this hop
	Auth    [8]byte
	Route   [8]byte
	Call    [8]byte // CLIENT span; what goes out as parent
}

// Span is when something began and ended.
type Span struct{ Start, End time.Time }

// Record is one request as it travels: the access line, the metrics and the spans are made from it when it ends. One goroutine owns it.
// It is pooled: nothing may keep it after End.
type Record struct {
	Start   time.Time // request head read
	AuthEnd time.Time // admission settled
	Read    time.Time // body read and envelope scanned
	Routed  time.Time // server, session and policy settled
	End     time.Time

	IDs     IDs
	Parent  [8]byte // caller's span when it is our parent; zero: none
	Link    IDs     // Trace and Call of a context we only link to; zero: none
	State   string  // tracestate to pass on, only with a parent
	Sampled bool    // decided at the head; a fault exports all the same
	Debug   bool    // diagnostic headers were asked for

	HTTPMethod string
	Path       string // request target without its query
	Proto      string // HTTP/1.1 or HTTP/2.0
	ClientAddr string // direct peer, host:port
	Status     int    // HTTP status sent to the caller

	Method    string // MCP method, "" when none was read; bounded to known names in metrics
	RequestID string // JSON-RPC id as raw JSON, at most 64 bytes
	Tool      string // params.name of tools/call
	Prompt    string // params.name of prompts/get
	Resource  string // params.uri of resources/read
	Revision  string // MCP revision the caller speaks, "" when unknown
	Server    string // configured server name
	EndUser   string // whom the caller named, when it may
	Caller    string // principal's record name: key name, master, anonymous; "" before admission
	Session   string // short hash of the session id, never the id
	Era       string // legacy or modern
	Transport string // how the server is spoken to; "" means streamable_http

	ConfigRevision int64
	Credential     Span // finding what the server wants of us; zero: it wants nothing
	Upstream       Timing
	UpstreamAddr   string // host of the configured URL
	UpstreamPort   int
	UpstreamOrigin string // scheme://host[:port], no path, no query
	UpstreamStatus int
	Attempts       int
	OneShot        bool // initialize, call, DELETE on behalf of a session-less caller
	Streamed       bool // answered as an event stream
	Events         int
	BytesIn        int64
	BytesOut       int64

	// Outcome of the call as MCP sees it: "" unknown, "ok", "tool_error", or the JSON-RPC error code in decimal.
	Outcome string
	Fault   *fault.Error // why it failed, nil when it didn't

	live live  // place in the list of requests in flight, from Begin to Finish
	legs *legs // of a request to several servers, and what each of its legs reports to; nil: it has none
	leg  bool  // this is one of them, from BeginLeg to FinishLeg
}
