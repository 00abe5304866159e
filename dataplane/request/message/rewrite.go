package message

import "bytes"

// SetEventID appends a raw server-sent event with another id, in the place of its first id line or in front; an empty id takes it away. An id
// with a line break or NUL can't be written, and counts as empty. Other lines stay as they were, but for a byte order mark, which means
// nothing behind the start of a stream.
func SetEventID(dst, event []byte, id string) []byte {
	set := id != "" && plainID(id)
	written := !set
	if !written && !hasField(event, "id") {
		dst, written = appendField(dst, "id: ", id), true
	}
	for len(event) > 0 {
		n := lineLen(event)
		if _, _, is := field(event[:n], "id"); !is {
			dst = append(dst, bytes.TrimPrefix(event[:n], byteOrderMark)...)
		} else if !written {
			dst, written = appendField(dst, "id: ", id), true
		}
		event = event[n:]
	}
	return dst
}

// SetEventData appends a raw server-sent event with data in place of its data lines, or in front when it has none; an empty event becomes
// one of data alone. Other lines stay as they were. Line breaks within data, blanks between JSON tokens, are written as several data lines.
func SetEventData(dst, event, data []byte) []byte {
	switch {
	case len(event) == 0:
		return append(appendData(dst, data), '\n')
	case !hasField(event, "data"):
		return append(appendData(dst, data), bytes.TrimPrefix(event, byteOrderMark)...)
	}
	return rebuild(dst, event, data)
}

func plainID(id string) bool {
	for i := range len(id) {
		if id[i] == '\n' || id[i] == '\r' || id[i] == 0 {
			return false
		}
	}
	return true
}

func hasField(event []byte, name string) bool {
	for len(event) > 0 {
		n := lineLen(event)
		if _, _, is := field(event[:n], name); is {
			return true
		}
		event = event[n:]
	}
	return false
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\n')
}

// rebuild copies an event with data in place of its data lines.
func rebuild(dst, event, data []byte) []byte {
	for written := false; len(event) > 0; {
		n := lineLen(event)
		if _, _, is := field(event[:n], "data"); !is {
			dst = append(dst, event[:n]...)
		} else if !written {
			dst, written = appendData(dst, data), true
		}
		event = event[n:]
	}
	return dst
}

// lineLen is the length of the first line with its end: LF, CR or CRLF.
func lineLen(b []byte) int {
	i := lineEnd(b)
	switch {
	case i == len(b):
		return i
	case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
		return i + 2
	}
	return i + 1
}

// appendData appends data as data lines.
func appendData(dst, data []byte) []byte {
	for {
		line := data[:lineLen(data)]
		data = data[len(line):]
		text := bytes.TrimRight(line, "\r\n")
		dst = append(dst, "data: "...)
		dst = append(dst, text...)
		dst = append(dst, '\n')
		if len(text) == len(line) {
			return dst
		}
	}
}
