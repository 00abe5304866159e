package message

// Rename appends body to dst with another params.name, the name of a tool or prompt, and every other byte as it was. A body without that
// member, or whose member is no string, is copied unchanged. Here and below, e must be Scan's result for body, and dst must not overlap body.
func Rename(dst, body []byte, e *Envelope, name string) []byte {
	return replace(dst, body, e.Name, name)
}

// Readdress does with params.uri what Rename does with params.name.
func Readdress(dst, body []byte, e *Envelope, uri string) []byte {
	return replace(dst, body, e.URI, uri)
}

// ReplaceRef does so with what a completion is about: params.ref.name where params.ref.type is ref/prompt, params.ref.uri where it is
// ref/resource. A body with another type is copied unchanged.
func ReplaceRef(dst, body []byte, e *Envelope, text string) []byte {
	switch {
	case equal("ref/prompt", e.RefType, body):
		return replace(dst, body, e.RefName, text)
	case equal("ref/resource", e.RefType, body):
		return replace(dst, body, e.RefURI, text)
	}
	return append(dst, body...)
}

// ReplaceCursor appends body to dst with another params.cursor; an empty one drops the member. Where there is none, it is made, and params
// with it. A body that is no request, or whose params are no object, is copied unchanged.
func ReplaceCursor(dst, body []byte, e *Envelope, cursor string) []byte {
	switch {
	case e.Cursor.Present() && cursor == "":
		return drop(dst, body, e.Cursor)
	case e.Cursor.Present():
		p := patch{dst: dst, src: body}
		p.quote(e.Cursor, cursor)
		return p.rest()
	case cursor == "" || e.Kind != Request:
		return append(dst, body...)
	}
	return addParam(dst, body, e, "cursor", AppendQuoted(nil, cursor))
}

// ReplaceID appends a message to dst with another id, raw JSON, and every other byte as it was. ok is false when data isn't one JSON object
// or has no id at its root, or two; then dst is returned as it was.
func ReplaceID(dst, data, rawID []byte) (out []byte, ok bool) {
	var id [1]Span
	if !pickRoot(data, id[:], "id") || !id[0].Present() {
		return dst, false
	}
	dst = append(dst, data[:id[0].Start]...)
	dst = append(dst, rawID...)
	return append(dst, data[id[0].End:]...), true
}

// replace puts text in the place of a string.
func replace(dst, body []byte, at Span, text string) []byte {
	p := patch{dst: dst, src: body}
	if at.opens(body, '"') {
		p.quote(at, text)
	}
	return p.rest()
}

// addParam puts a member that isn't there in front of params, which it makes when they are absent.
func addParam(dst, body []byte, e *Envelope, name string, raw []byte) []byte {
	p := patch{dst: dst, src: body}
	switch {
	case e.Params.opens(body, '{'):
		p.upTo(e.Params.Start + 1)
		p.dst = append(appendName(p.dst, name), raw...)
		if !empty(body, e.Params) {
			p.dst = append(p.dst, ',')
		}
	case !e.Params.Present() && e.Method.Present():
		p.upTo(e.Method.End)
		p.dst = append(p.dst, `,"params":{`...)
		p.dst = append(appendName(p.dst, name), raw...)
		p.dst = append(p.dst, '}')
	}
	return p.rest()
}

// appendName appends a member's name, which needs no escapes, and the colon.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, `":`...)
}

// drop leaves out the member with that value, with one of the commas beside it.
func drop(dst, body []byte, value Span) []byte {
	start, end := nameStart(body, value.Start), value.End
	if next := space(body, end); body[next] == ',' {
		end = space(body, next+1)
	} else if last := spaceBefore(body, start); body[last-1] == ',' {
		start = last - 1
	}
	dst = append(dst, body[:start]...)
	return append(dst, body[end:]...)
}

// nameStart returns where the member begins whose value is at i. Its name stands for a word without quotes, so it has none inside.
func nameStart(body []byte, i int) int {
	i = spaceBefore(body, i) - 1   // the colon
	i = spaceBefore(body, i) - 1   // the closing quote
	for i--; body[i] != '"'; i-- { // the opening one
	}
	return i
}

// spaceBefore is space backwards: it returns the offset after the last byte before i that is no blank.
func spaceBefore(b []byte, i int) int {
	for i > 0 && (b[i-1] == ' ' || b[i-1] == '\n' || b[i-1] == '\t' || b[i-1] == '\r') {
		i--
	}
	return i
}
