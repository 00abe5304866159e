package message

import "strings"

// Hello is what a server says of itself. Capabilities and ServerInfo are raw JSON objects, subslices of its answer; nil when they are absent.
type Hello struct {
	// Revision that an initialize settled on; of a discovery the newest revision without a handshake that both speak, or empty.
	Revision string
	// Instructions for the model.
	Instructions             string
	Capabilities, ServerInfo []byte
	// Versions that a discovery tells, at most 32.
	Versions []string
}

const mostVersions = 32

// ReadInitialize reads the result of an initialize request. ok is false for every other answer, and for one that has a member twice.
func ReadInitialize(data []byte) (h Hello, ok bool) {
	var at [4]Span
	if !pickResult(data, at[:], "protocolVersion", "instructions", "capabilities", "serverInfo") {
		return Hello{}, false
	}
	h = Hello{Revision: text(at[0], data, 64), Instructions: text(at[1], data, len(data)), Capabilities: object(at[2], data),
		ServerInfo: object(at[3], data)}
	return h, h.Revision != ""
}

// ReadDiscover reads the result of server/discover (MCP 2026-07-28). ok is false for every other answer, and for one that has a member twice.
func ReadDiscover(data []byte) (h Hello, ok bool) {
	var at [4]Span
	if !pickResult(data, at[:], "supportedVersions", "instructions", "capabilities", "_meta") || !at[0].opens(data, '[') {
		return Hello{}, false
	}
	h = Hello{Instructions: text(at[1], data, len(data)), Capabilities: object(at[2], data)}
	elements(data, at[0].Start, func(value Span) bool {
		v := text(value, data, 64)
		if v != "" {
			h.Versions = append(h.Versions, v)
		}
		if modernRevision(v) {
			h.Revision = v
		}
		return len(h.Versions) < mostVersions
	})
	if at[3].opens(data, '{') {
		var info [1]Span
		if _, ok := pick(data, at[3].Start, info[:], metaServerInfo); ok {
			h.ServerInfo = object(info[0], data)
		}
	}
	return h, true
}

const metaServerInfo = "io.modelcontextprotocol/serverInfo"

// pickResult picks members of a response's result.
func pickResult(data []byte, found []Span, names ...string) bool {
	var at [2]Span
	if !pickRoot(data, at[:], "result", "method") || !at[0].opens(data, '{') || at[1].Present() {
		return false
	}
	_, ok := pick(data, at[0].Start, found, names...)
	return ok
}

// object returns a value that is an object, else nil.
func object(at Span, data []byte) []byte {
	if !at.opens(data, '{') {
		return nil
	}
	return data[at.Start:at.End:at.End]
}

// ClientOf returns what a client says of itself, raw JSON objects and subslices of body: in params of an initialize request, in params._meta of
// a message of MCP 2026-07-28. Nil stands for what isn't said. e must be Scan's result for body.
func ClientOf(body []byte, e *Envelope) (capabilities, clientInfo []byte) {
	if !equal("initialize", e.Method, body) {
		return object(e.Capabilities, body), object(e.ClientInfo, body)
	}
	var at [2]Span
	if _, ok := pick(body, e.Params.Start, at[:], "capabilities", "clientInfo"); !ok || !e.Params.Present() {
		return nil, nil
	}
	return object(at[0], body), object(at[1], body)
}

// AppendHandshake appends the initialize request that opens a session on behalf of a client: with its raw capabilities and clientInfo. In
// place of empty ones stand no capabilities, and agent, which is "name/version". id is raw JSON.
func AppendHandshake(dst, id []byte, revision string, capabilities, clientInfo []byte, agent string) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendOneLine(dst, id)
	dst = append(dst, `,"method":"initialize","params":{"protocolVersion":`...)
	dst = AppendQuoted(dst, revision)
	dst = append(dst, `,"capabilities":`...)
	if len(capabilities) == 0 {
		capabilities = []byte("{}")
	}
	dst = append(dst, capabilities...)
	dst = append(dst, `,"clientInfo":`...)
	if len(clientInfo) > 0 {
		dst = append(dst, clientInfo...)
	} else {
		name, version, _ := strings.Cut(agent, "/")
		dst = appendMember(append(dst, '{'), "name", name)
		dst = append(appendMember(append(dst, ','), "version", version), '}')
	}
	return append(dst, "}}"...)
}
