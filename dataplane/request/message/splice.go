package message

// Splice appends body to dst with traceparent and tracestate in params._meta (SEP-414), and every other byte as it was. Values that are
// already there are replaced; an empty tracestate empties one that is there, since it belongs to the trace it came with, and adds none. Missing
// params and _meta are made.
//
// A body is copied unchanged if it isn't a request or notification, if params isn't an object or _meta isn't one, or if traceparent is empty.
// e must be Scan's result for body, and dst must not overlap body.
func Splice(dst, body []byte, e *Envelope, traceparent, tracestate string) []byte {
	if traceparent == "" || e.Kind != Request && e.Kind != Notification {
		return append(dst, body...)
	}
	switch {
	case e.Meta.opens(body, '{'):
		return spliceMeta(dst, body, e, traceparent, tracestate)
	case e.Meta.Present():
	case e.Params.opens(body, '{'):
		return insert(dst, body, e.Params.Start+1, `"_meta":{`, traceparent, tracestate, closing(body, e.Params))
	case !e.Params.Present():
		return insert(dst, body, e.Method.End, `,"params":{"_meta":{`, traceparent, tracestate, "}}")
	}
	return append(dst, body...)
}

// closing ends an inserted _meta, with a comma if members of the object follow.
func closing(body []byte, object Span) string {
	if empty(body, object) {
		return "}"
	}
	return "},"
}

func empty(body []byte, object Span) bool { return body[space(body, object.Start+1)] == '}' }

// insert puts open, the trace members and end at offset at.
func insert(dst, body []byte, at int, open, traceparent, tracestate, end string) []byte {
	dst = append(dst, body[:at]...)
	dst = append(dst, open...)
	dst = appendMember(dst, "traceparent", traceparent)
	if tracestate != "" {
		dst = append(dst, ',')
		dst = appendMember(dst, "tracestate", tracestate)
	}
	dst = append(dst, end...)
	return append(dst, body[at:]...)
}

func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return AppendQuoted(dst, value)
}

// spliceMeta edits a _meta that is there: missing members go to its front, others are replaced where they stand.
func spliceMeta(dst, body []byte, e *Envelope, traceparent, tracestate string) []byte {
	at := e.Meta.Start + 1
	dst = append(dst, body[:at]...)
	front := len(dst)
	if !e.Traceparent.Present() {
		dst = appendMember(dst, "traceparent", traceparent)
	}
	if !e.Tracestate.Present() && tracestate != "" {
		if len(dst) > front {
			dst = append(dst, ',')
		}
		dst = appendMember(dst, "tracestate", tracestate)
	}
	if len(dst) > front && !empty(body, e.Meta) {
		dst = append(dst, ',')
	}
	first, second := edit{e.Traceparent, traceparent}, edit{e.Tracestate, tracestate}
	if second.at.Start < first.at.Start {
		first, second = second, first
	}
	dst, at = first.apply(dst, body, at)
	dst, at = second.apply(dst, body, at)
	return append(dst, body[at:]...)
}

// edit replaces a value; an absent one stays absent.
type edit struct {
	at    Span
	value string
}

// apply appends the body from the offset up to the value, and the new value; it returns the offset after the old one.
func (r edit) apply(dst, body []byte, from int) ([]byte, int) {
	if !r.at.Present() {
		return dst, from
	}
	dst = append(dst, body[from:r.at.Start]...)
	return AppendQuoted(dst, r.value), r.at.End
}
