package message

import "strings"

// AppendInitialize appends the initialize request that opens a session on behalf of a caller who has none; its id is 1. agent is
// "name/version". No client capabilities are offered, so that the server asks nothing back.
func AppendInitialize(dst []byte, agent, revision string) []byte {
	name, version, _ := strings.Cut(agent, "/")
	dst = append(dst, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":`...)
	dst = AppendQuoted(dst, revision)
	dst = append(dst, `,"capabilities":{},"clientInfo":{"name":`...)
	dst = AppendQuoted(dst, name)
	dst = append(dst, `,"version":`...)
	dst = AppendQuoted(dst, version)
	return append(dst, "}}}"...)
}

// AppendInitialized appends the notification that ends the handshake.
func AppendInitialized(dst []byte) []byte {
	return append(dst, `{"jsonrpc":"2.0","method":"notifications/initialized"}`...)
}

// AppendListenEnd appends the server-sent event that ends a subscriptions/listen stream properly: the result of the request with that raw
// JSON id (2026-07-28, subscriptions).
func AppendListenEnd(dst, id []byte) []byte {
	dst = append(dst, `event: message`+"\n"+`data: {"jsonrpc":"2.0","id":`...)
	dst = appendOneLine(dst, id)
	dst = append(dst, `,"result":{"resultType":"complete","_meta":{"`+metaSubscription+`":`...)
	dst = appendOneLine(dst, id)
	return append(dst, "}}}\n\n"...)
}

// appendOneLine appends a raw id. Strings and numbers hold no line breaks; an absent id becomes null.
func appendOneLine(dst, id []byte) []byte {
	if len(id) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, id...)
}
