// Package message reads and edits the JSON-RPC envelope of MCP messages without decoding what it doesn't need.
//
// It promises that one pass tells where every routed value stands in the body, that what it read is what every JSON parser reads (duplicate
// names, escaped spellings, other capitals and broken strings in routed places are refused), and that an edit changes the bytes it is about
// and no others. It refuses malformed JSON as a whole, and what no MCP revision calls a message. Arguments and what tools
// answer are never decoded; of lists, links and handshakes only the members are by which they are shown, merged and routed.
package message

// Span is a byte range of the body. Strings keep their quotes. The zero Span means that the value is absent.
type Span struct{ Start, End int }

// Of returns the bytes of the span, a subslice of body; nil when the value is absent.
func (s Span) Of(body []byte) []byte {
	if s.End == 0 {
		return nil
	}
	return body[s.Start:s.End]
}

// Present reports whether the value is there, null included.
func (s Span) Present() bool { return s.End != 0 }

// opens reports whether the value begins with c: '{' object, '[' array, '"' string.
func (s Span) opens(body []byte, c byte) bool { return s.End != 0 && body[s.Start] == c }

// Kind says what a body is.
type Kind uint8

// The kinds. Unknown is what a failed Scan leaves.
const (
	Unknown Kind = iota
	Request
	Notification
	Response
	Batch // an array of messages (MCP 2025-03-26 only); nothing of it is read
)

var kindNames = [...]string{"unknown", "request", "notification", "response", "batch"}

// String returns the kind's word, for example "request".
func (k Kind) String() string { return kindNames[k] }

// Envelope tells where the parts of a message stand in its body. It holds offsets only: it is valid as long as the body isn't changed.
type Envelope struct {
	Kind Kind

	ID     Span // raw JSON: a string or a number; null on some error responses
	Method Span
	Params Span // the whole value, object or not
	Result Span
	Error  Span

	// Members of params.
	Name   Span // tools/call, prompts/get
	URI    Span // resources/read, resources/subscribe, resources/unsubscribe
	TaskID Span // tasks/*
	Offer  Span // params.protocolVersion: the revision that an initialize request offers
	Meta   Span // params._meta

	Cursor   Span // params.cursor: where the next page of a list begins
	CancelID Span // params.requestId, raw JSON: what notifications/cancelled is about
	// Members of params.ref, what completion/complete is about.
	RefType Span
	RefName Span
	RefURI  Span

	// Members of params._meta (MCP 2026-07-28, SEP-2575 and SEP-414).
	Protocol      Span // io.modelcontextprotocol/protocolVersion
	Capabilities  Span // io.modelcontextprotocol/clientCapabilities
	ClientInfo    Span // io.modelcontextprotocol/clientInfo
	LogLevel      Span // io.modelcontextprotocol/logLevel
	ProgressToken Span
	Traceparent   Span
	Tracestate    Span

	respelled bool // params or params.ref has a member that is routed by in other capitals
}

// DefaultDepth and MaxDepth bound how many brackets may be open at once, the outermost included.
const (
	DefaultDepth = 64
	MaxDepth     = 1024
)

// Scan reads body once and fills e. depth bounds the nesting; 0 or less means DefaultDepth, more than MaxDepth means MaxDepth.
//
// Errors are *fault.Error of hop=client, phase=request: -32700 for what isn't JSON, -32600 for JSON that isn't a JSON-RPC message, that
// repeats a name at the root, in params, in params.ref or in _meta, that has a name that is routed by in other capitals (at the root, and in
// params and params.ref of the methods MCP defines: some servers match names regardless of case), or that nests too deeply. After a -32600
// e.ID still tells the request's id if that is known beyond doubt. Scan doesn't allocate unless such an object has more than 32 names or
// spells one with escapes.
func Scan(body []byte, depth int, e *Envelope) error {
	*e = Envelope{}
	c := cursor{b: body, limit: clampDepth(depth)}
	c.space()
	switch {
	case c.at('{'):
		c.root(e)
	case c.at('['):
		c.value()
		e.Kind = Batch
	default:
		c.value()
	}
	if c.space(); c.fail == fine && c.i != len(body) {
		c.fail = syntax
	}
	if c.fail != fine {
		return e.refused(&c)
	}
	if e.Kind == Batch {
		return nil
	}
	return e.shape(body)
}

func clampDepth(d int) int {
	if d <= 0 {
		return DefaultDepth
	}
	return min(d, MaxDepth)
}

// refused turns the cursor's failure into a fault and forgets what can't be relied on.
func (e *Envelope) refused(c *cursor) error {
	id := e.ID
	*e = Envelope{}
	if c.fail != syntax && c.fail != repeatedID && c.fail != respelled && validID(id.Of(c.b)) {
		e.ID = id
	}
	return c.fault()
}

// shape decides what kind of message it is, by the rules of JSON-RPC 2.0 and the MCP schemas.
func (e *Envelope) shape(body []byte) error {
	if id := e.ID.Of(body); id != nil && !validID(id) && (string(id) != "null" || !e.Error.Present()) {
		e.ID = Span{}
		return invalid("the id must be a string or a number")
	}
	switch {
	case e.Method.Present() && (e.Result.Present() || e.Error.Present()):
		return invalid("a message has either a method or a result or error, not both")
	case e.Result.Present() && e.Error.Present():
		return invalid("a response has either a result or an error, not both")
	case e.Method.Present():
		return e.call(body)
	case e.Result.Present() && !e.ID.Present():
		return invalid("a response needs the id of its request")
	case e.Result.Present() || e.Error.Present():
		e.Kind = Response
		return nil
	}
	return invalid("a message needs a method, a result or an error")
}

// call checks the parts of a request or notification that routing reads.
func (e *Envelope) call(body []byte) error {
	if !e.Method.opens(body, '"') {
		return invalid("the method must be a string")
	}
	if e.Params.Present() && !e.Params.opens(body, '{') && !e.Params.opens(body, '[') && !e.Params.opens(body, 'n') {
		return invalid("params must be an object")
	}
	for _, s := range [...]Span{e.Method, e.Name, e.URI, e.TaskID, e.Protocol, e.Cursor, e.CancelID, e.RefType, e.RefName, e.RefURI} {
		if s.opens(body, '"') && !sound(s.Of(body)) {
			return invalid("a string used for routing isn't valid Unicode")
		}
	}
	if e.respelled && KnownMethod(e.MethodString(body)) {
		return capitals()
	}
	e.Kind = Notification
	if e.ID.Present() {
		e.Kind = Request
	}
	return nil
}

// validID reports whether raw is a JSON string or number that every peer reads alike.
func validID(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	return raw[0] == '"' && sound(raw) || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// MethodString returns the decoded method; no allocation for methods MCP defines. Empty when there is none.
func (e *Envelope) MethodString(body []byte) string {
	raw := inner(e.Method, body)
	if m, ok := methods[string(raw)]; ok {
		return m
	}
	return text(e.Method, body, len(body))
}

// NameString returns the decoded params.name; empty when it is absent or no string.
func (e *Envelope) NameString(body []byte) string { return text(e.Name, body, len(body)) }

// URIString returns the decoded params.uri; empty when it is absent or no string.
func (e *Envelope) URIString(body []byte) string { return text(e.URI, body, len(body)) }

// TaskIDString returns the decoded params.taskId; empty when it is absent or no string.
func (e *Envelope) TaskIDString(body []byte) string { return text(e.TaskID, body, len(body)) }

// ProtocolString returns the revision that _meta names; empty when it is absent or no string.
func (e *Envelope) ProtocolString(body []byte) string { return text(e.Protocol, body, len(body)) }

// CursorString returns the decoded params.cursor; empty when it is absent or no string.
func (e *Envelope) CursorString(body []byte) string { return text(e.Cursor, body, len(body)) }

// RefTypeString returns the decoded params.ref.type; empty when it is absent or no string.
func (e *Envelope) RefTypeString(body []byte) string { return text(e.RefType, body, len(body)) }

// RefNameString returns the decoded params.ref.name; empty when it is absent or no string.
func (e *Envelope) RefNameString(body []byte) string { return text(e.RefName, body, len(body)) }

// RefURIString returns the decoded params.ref.uri; empty when it is absent or no string.
func (e *Envelope) RefURIString(body []byte) string { return text(e.RefURI, body, len(body)) }

// OfferString returns the revision that initialize offers; empty when it is absent or no string.
func (e *Envelope) OfferString(body []byte) string { return text(e.Offer, body, 64) }

// TraceparentString returns _meta.traceparent; empty when it is absent, no string, or longer than 128 bytes.
func (e *Envelope) TraceparentString(body []byte) string { return text(e.Traceparent, body, 128) }

// TracestateString returns _meta.tracestate; empty when it is absent, no string, or longer than 1,024 bytes.
func (e *Envelope) TracestateString(body []byte) string { return text(e.Tracestate, body, 1024) }
