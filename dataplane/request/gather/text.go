package gather

// appendHead begins a result for the request with that raw id.
func appendHead(dst, id []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	if len(id) == 0 {
		id = []byte("null")
	}
	dst = append(dst, id...)
	return append(dst, `,"result":{`...)
}
