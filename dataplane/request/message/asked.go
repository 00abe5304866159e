package message

// IsServerRequest reports whether data is a request, as servers send them on streams: an object with an id, a string or a number, and a
// method, and no result or error. id is its raw JSON, a subslice of data. ok is false too for a message with a member twice at its root.
func IsServerRequest(data []byte) (id []byte, method string, ok bool) {
	var at [4]Span
	if !pickRoot(data, at[:], "id", "method", "result", "error") || !validID(at[0].Of(data)) || at[2].Present() || at[3].Present() {
		return nil, "", false
	}
	if method = methodText(at[1], data); method == "" {
		return nil, "", false
	}
	return at[0].Of(data), method, true
}

// Method returns the decoded method of a request or notification; empty for everything else, for messages with a member twice at their root
// included. It doesn't allocate for methods that MCP defines.
func Method(data []byte) string {
	var at [1]Span
	if !pickRoot(data, at[:], "method") {
		return ""
	}
	return methodText(at[0], data)
}

func methodText(at Span, data []byte) string {
	if m, ok := methods[string(inner(at, data))]; ok {
		return m
	}
	return text(at, data, len(data))
}
