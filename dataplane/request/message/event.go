package message

import "bytes"

// Data appends to dst what the data lines of one raw server-sent event stand for, joined by line feeds (HTML Living Standard, server-sent
// events), and returns the extended slice. ok is false when the event has no data line, as comments have none, or only empty ones: such an
// event isn't dispatched. Lines end in LF, CR or CRLF; dst never aliases event.
func Data(dst, event []byte) (data []byte, ok bool) {
	start, lines := len(dst), 0
	for len(event) > 0 {
		var value []byte
		var is bool
		if value, event, is = field(event, "data"); !is {
			continue
		}
		if lines++; lines > 1 {
			dst = append(dst, '\n')
		}
		dst = append(dst, value...)
	}
	return dst, len(dst) > start
}

// Bare reports whether every line of a raw event is empty, a comment, or a field that event streams have.
func Bare(event []byte) bool {
	for len(event) > 0 {
		line, rest := cutLine(event)
		name, _, _ := bytes.Cut(bytes.TrimPrefix(line, byteOrderMark), []byte(":"))
		switch string(name) {
		case "", "id", "event", "data", "retry":
		default:
			return false
		}
		event = rest
	}
	return true
}

// HasID reports whether a raw event carries an id, so that its stream can be resumed after it (MCP up to 2025-11-25).
func HasID(event []byte) bool { return len(ID(event)) > 0 }

// ID returns the id of a raw event, a subslice of it; nil when it has none. The last id line counts; one with a NUL is ignored.
func ID(event []byte) (id []byte) {
	for len(event) > 0 {
		var value []byte
		var is bool
		if value, event, is = field(event, "id"); is && bytes.IndexByte(value, 0) < 0 {
			id = value
		}
	}
	return id
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// field takes the first line off event and returns its value if it is of that name.
func field(event []byte, name string) (value, rest []byte, is bool) {
	line, rest := cutLine(event)
	line = bytes.TrimPrefix(line, byteOrderMark)
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return nil, rest, false
	}
	value = line[len(name):]
	if len(value) == 0 {
		return value, rest, true
	}
	if value[0] != ':' {
		return nil, rest, false
	}
	value = value[1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return value, rest, true
}

// cutLine splits after the first CR or LF. Of a CRLF the LF then makes an empty line, which says nothing within one event.
func cutLine(b []byte) (line, rest []byte) {
	i := lineEnd(b)
	if i == len(b) {
		return b, nil
	}
	return b[:i], b[i+1:]
}

// lineEnd returns the offset of the first CR or LF, or the length. It looks at one stretch at a time, so that an event of many lines which
// all end in one of the two isn't searched for the other to its end, line by line.
func lineEnd(b []byte) int {
	const stretch = 1024
	for at := 0; at < len(b); at += stretch {
		part := b[at:min(at+stretch, len(b))]
		i := bytes.IndexByte(part, '\n')
		if i < 0 {
			i = len(part)
		}
		if cr := bytes.IndexByte(part[:i], '\r'); cr >= 0 {
			return at + cr
		}
		if i < len(part) {
			return at + i
		}
	}
	return len(b)
}

// AppendEvent appends a JSON-RPC message as one server-sent event.
func AppendEvent(dst, data []byte) []byte {
	dst = append(dst, "event: message\n"...)
	for len(data) > 0 {
		n := bytes.IndexAny(data, "\r\n")
		line := data
		if n >= 0 {
			line, data = data[:n], data[n+1:]
		} else {
			data = nil
		}
		if len(line) > 0 {
			dst = append(append(append(dst, "data: "...), line...), '\n')
		}
	}
	return append(dst, '\n')
}

// Passable appends the message of an event to dst, and reports whether the event has one, or nothing but what event streams have without one. What
// any other holds nobody knows, and no client can use.
func Passable(dst, event []byte) (data []byte, ok bool) {
	if data, ok = Data(dst, event); !ok || len(data) == 0 {
		return data, Bare(event)
	}
	return data, MayBeMessage(data) && !hollow(data) || data[0] == '['
}

// hollow reports whether data is an empty object. It is what event stores make of the event that opens a stream, which has no message, when they
// bring it again; some clients end the session over it.
func hollow(data []byte) bool {
	data = bytes.TrimSpace(data)
	return len(data) > 1 && data[0] == '{' && len(bytes.TrimSpace(data[1:])) == 1
}
