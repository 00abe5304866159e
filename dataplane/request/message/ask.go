package message

// Ask is a request of our own on behalf of a caller.
type Ask struct {
	ID       string // of the request; a JSON string
	Method   string
	Cursor   string // params.cursor; empty: none
	Revision string
	// Capabilities and ClientInfo are the caller's own, as raw JSON; sent with each request in 2026-07-28 only.
	Capabilities, ClientInfo []byte
	Traceparent              string // empty: none
}

// AppendAsk appends the request, with the _meta that its revision wants (2026-07-28: SEP-2575; trace context: SEP-414).
func AppendAsk(dst []byte, a Ask) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = AppendQuoted(dst, a.ID)
	dst = append(dst, `,"method":`...)
	dst = AppendQuoted(dst, a.Method)
	dst = append(dst, `,"params":{`...)
	if a.Cursor != "" {
		dst = append(dst, `"cursor":`...)
		dst = append(AppendQuoted(dst, a.Cursor), ',')
	}
	dst = append(dst, `"_meta":{`...)
	comma := false
	if a.Revision >= Rev20260728 {
		dst, comma = appendClient(dst, &a), true
	}
	if a.Traceparent != "" {
		if comma {
			dst = append(dst, ',')
		}
		dst = appendMember(dst, "traceparent", a.Traceparent)
	}
	return append(dst, "}}}"...)
}

// appendClient appends what a modern request says of its client.
func appendClient(dst []byte, a *Ask) []byte {
	dst = appendMember(dst, metaProtocol, a.Revision)
	dst = append(dst, `,"`+metaCapabilities+`":`...)
	if len(a.Capabilities) == 0 {
		dst = append(dst, "{}"...)
	} else {
		dst = append(dst, a.Capabilities...)
	}
	if len(a.ClientInfo) > 0 {
		dst = append(dst, `,"`+metaClientInfo+`":`...)
		dst = append(dst, a.ClientInfo...)
	}
	return dst
}

// AppendResult appends the response with a result, raw JSON, to the request with that raw id.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendOneLine(dst, id)
	dst = append(dst, `,"result":`...)
	return append(append(dst, result...), '}')
}

// IDString returns the decoded id of a message; empty when it has none or a number.
func IDString(body []byte, e *Envelope) string { return text(e.ID, body, len(body)) }

// AppendAcknowledged appends the server-sent event that a subscriptions/listen stream begins with (2026-07-28, subscriptions): what is honoured,
// to the request with that raw id.
func AppendAcknowledged(dst, id []byte, l Listen) []byte {
	dst = append(dst, "event: message\ndata: "+`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`...)
	dst = AppendListen(dst, l)
	dst = append(dst, `,"_meta":{"`+metaSubscription+`":`...)
	dst = appendOneLine(dst, id)
	return append(dst, "}}}\n\n"...)
}

// AppendListChanged appends an event that tells, on the stream of the subscriptions/listen request with that raw id, that a list has changed:
// "tools", "prompts" or "resources" (2026-07-28, subscriptions).
func AppendListChanged(dst, id []byte, list string) []byte {
	dst = append(dst, "event: message\ndata: "+`{"jsonrpc":"2.0","method":"notifications/`...)
	dst = append(dst, list...)
	dst = append(dst, `/list_changed","params":{"_meta":{"`+metaSubscription+`":`...)
	dst = appendOneLine(dst, id)
	return append(dst, "}}}\n\n"...)
}

// AppendWatch appends a subscriptions/listen request of our own for changes of all lists.
func AppendWatch(dst []byte, a Ask) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = AppendQuoted(dst, a.ID)
	dst = append(dst, `,"method":"subscriptions/listen","params":{"notifications":`...)
	dst = AppendListen(dst, Listen{Tools: true, Prompts: true, Resources: true})
	dst = append(dst, `,"_meta":{`...)
	return append(appendClient(dst, &a), "}}}"...)
}

// ReplaceCancelled appends a server's notifications/cancelled with another raw id of the request that it takes back. Without one, or of a message
// that isn't sound, nothing is changed.
func ReplaceCancelled(dst, data []byte, id func(raw []byte) ([]byte, error)) (out []byte, changed bool, err error) {
	var e Envelope
	if Scan(data, MaxDepth, &e); !e.CancelID.Present() { //nolint:errcheck // of what isn't sound nothing is present
		return dst, false, nil
	}
	raw, err := id(e.CancelID.Of(data))
	if err != nil {
		return dst, false, err
	}
	dst = append(append(dst, data[:e.CancelID.Start]...), raw...)
	return append(dst, data[e.CancelID.End:]...), true, nil
}
