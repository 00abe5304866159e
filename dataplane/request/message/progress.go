package message

import "strings"

// A server that asks a client something may want to hear of the progress, under a token of its own choice. Two servers may choose the same one,
// so on an endpoint of several servers it is known as {server}~{raw token}, a string.

// WrapProgress appends a server's request with its progressToken marked as that server's. changed is false for a request without one.
func WrapProgress(dst, data []byte, server string) (out []byte, changed bool) {
	var e Envelope
	if Scan(data, MaxDepth, &e) != nil || e.Kind != Request || !e.ProgressToken.Present() {
		return dst, false
	}
	dst = append(dst, data[:e.ProgressToken.Start]...)
	dst = AppendQuoted(dst, server+"~"+string(e.ProgressToken.Of(data)))
	return append(dst, data[e.ProgressToken.End:]...), true
}

// UnwrapProgress appends a client's notifications/progress with the token as the server chose it, and tells whose it is. ok is false for a token
// that isn't a marked one. e must be Scan's result for body.
func UnwrapProgress(dst, body []byte, e *Envelope) (out []byte, server string, ok bool) {
	at := Span{}
	if e.Params.opens(body, '{') {
		members(body, e.Params.Start, func(n []byte, value Span) bool {
			if is, _ := named(n, "progressToken"); is {
				at = value
			}
			return true
		})
	}
	if !at.opens(body, '"') {
		return dst, "", false
	}
	server, raw, ok := strings.Cut(text(at, body, len(body)), "~")
	if !ok || !validID([]byte(raw)) {
		return dst, "", false
	}
	if end, why := skip([]byte(raw), 0, 1); why != fine || end != len(raw) {
		return dst, "", false
	}
	dst = append(append(dst, body[:at.Start]...), raw...)
	return append(dst, body[at.End:]...), server, true
}
