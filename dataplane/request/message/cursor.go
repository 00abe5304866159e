package message

// problem is why a scan stopped.
type problem uint8

const (
	fine problem = iota
	syntax
	deep
	repeated   // a name twice in one object where names are routed
	repeatedID // the same, and it is the id
	unsound    // a name there that isn't valid Unicode
	notRPC     // jsonrpc is not "2.0"
	unlisted   // tools that are no list
	respelled  // a name that is routed by, in other capitals
)

// cursor walks a body once. The first failure sticks, and from then on nothing moves.
type cursor struct {
	b     []byte
	i     int
	open  int // brackets open around i
	limit int
	fail  problem
	names [32][]byte // decoded names of the objects being walked, outer ones first
	n     int
}

func (c *cursor) at(want byte) bool { return c.i < len(c.b) && c.b[c.i] == want }

func (c *cursor) space() { c.i = space(c.b, c.i) }

// object walks the members of the object at i. For each it calls f with the decoded name, i being at the value; f must consume the value.
// A repeated name is refused.
func (c *cursor) object(f func(name []byte)) {
	if c.open++; c.open > c.limit {
		c.fail = deep
		return
	}
	seen := names{base: c.n}
	c.i++
	c.space()
	for first := true; c.fail == fine && !c.at('}'); first = false {
		if !first && !c.comma() {
			return
		}
		if name := c.name(&seen); c.fail == fine {
			f(name)
			c.space()
		}
	}
	if c.fail != fine {
		return
	}
	c.i++
	c.open--
	c.n = seen.base
}

func (c *cursor) comma() bool {
	if !c.at(',') {
		c.fail = syntax
		return false
	}
	c.i++
	c.space()
	return true
}

// name reads a member's name and the colon, and checks that the name is new.
func (c *cursor) name(seen *names) []byte {
	start := c.i
	if !c.at('"') {
		c.fail = syntax
		return nil
	}
	if c.i = stringEnd(c.b, start); c.i < 0 {
		c.i, c.fail = start, syntax
		return nil
	}
	name, ok := decode(c.b[start+1:c.i-1], nil)
	c.space()
	if !c.at(':') {
		c.fail = syntax
		return nil
	}
	c.i++
	c.space()
	switch {
	case !ok:
		c.fail = unsound
	case !seen.add(c, name):
		c.fail = repeated
		if string(name) == "id" && c.open == 1 {
			c.fail = repeatedID
		}
	}
	return name
}

// value consumes any value. A broken one is absent.
func (c *cursor) value() Span {
	if c.fail != fine {
		return Span{}
	}
	start := c.i
	end, why := skip(c.b, start, c.limit-c.open)
	if c.i = end; why != fine {
		c.fail = why
		return Span{}
	}
	return Span{start, end}
}

// names is the set of names of one object: a stretch of the cursor's array, or a map once that is full.
type names struct {
	base int
	more map[string]struct{}
}

// add reports whether name is new.
func (s *names) add(c *cursor, name []byte) bool {
	if s.more != nil {
		_, twice := s.more[string(name)]
		s.more[string(name)] = struct{}{}
		return !twice
	}
	for _, other := range c.names[s.base:c.n] {
		if string(other) == string(name) {
			return false
		}
	}
	if c.n < len(c.names) {
		c.names[c.n] = name
		c.n++
		return true
	}
	s.more = make(map[string]struct{}, 2*len(c.names))
	for _, other := range c.names[s.base:c.n] {
		s.more[string(other)] = struct{}{}
	}
	s.more[string(name)] = struct{}{}
	return true
}

// root walks the message itself.
func (c *cursor) root(e *Envelope) {
	version := Span{}
	c.object(func(name []byte) {
		switch string(name) {
		case "jsonrpc":
			version = c.value()
		case "id":
			e.ID = c.value()
		case "method":
			e.Method = c.value()
		case "params":
			e.Params = c.descend(func() { c.params(e) })
		case "result":
			e.Result = c.value()
		case "error":
			e.Error = c.value()
		default:
			if c.value(); c.fail == fine && folds(name, rootNames[:]) {
				c.fail = respelled
			}
		}
	})
	if c.fail == fine && string(inner(version, c.b)) != "2.0" {
		c.fail = notRPC
	}
}

func (c *cursor) params(e *Envelope) {
	c.object(func(name []byte) {
		switch string(name) {
		case "name":
			e.Name = c.value()
		case "uri":
			e.URI = c.value()
		case "taskId":
			e.TaskID = c.value()
		case "protocolVersion":
			e.Offer = c.value()
		case "_meta":
			e.Meta = c.descend(func() { c.meta(e) })
		case "arguments":
			c.value()
		case "cursor":
			e.Cursor = c.value()
		case "requestId":
			e.CancelID = c.value()
		case "ref":
			c.descend(func() { c.ref(e) })
		default:
			e.respelled = e.respelled || folds(name, paramNames[:])
			c.value()
		}
	})
}

func (c *cursor) ref(e *Envelope) {
	c.object(func(name []byte) {
		switch string(name) {
		case "type":
			e.RefType = c.value()
		case "name":
			e.RefName = c.value()
		case "uri":
			e.RefURI = c.value()
		default:
			e.respelled = e.respelled || folds(name, refNames[:])
			c.value()
		}
	})
}

func (c *cursor) meta(e *Envelope) {
	c.object(func(name []byte) {
		switch string(name) {
		case metaProtocol:
			e.Protocol = c.value()
		case metaCapabilities:
			e.Capabilities = c.value()
		case metaClientInfo:
			e.ClientInfo = c.value()
		case metaLogLevel:
			e.LogLevel = c.value()
		case "progressToken":
			e.ProgressToken = c.value()
		case "traceparent":
			e.Traceparent = c.value()
		case "tracestate":
			e.Tracestate = c.value()
		default:
			c.value()
		}
	})
}

// descend walks the value at i with walk if it is an object, else consumes it, and returns where it stands.
func (c *cursor) descend(walk func()) Span {
	if !c.at('{') {
		return c.value()
	}
	start := c.i
	walk()
	return Span{start, c.i}
}

// Names of _meta members that MCP 2026-07-28 defines.
const (
	metaProtocol     = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaClientInfo   = "io.modelcontextprotocol/clientInfo"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)
