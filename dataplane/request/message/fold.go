package message

import "bytes"

// Names that are routed by. Some parsers match names regardless of case: to them another spelling would be the same member once more.
var (
	rootNames  = [...][]byte{[]byte("jsonrpc"), []byte("id"), []byte("method"), []byte("params"), []byte("result"), []byte("error")}
	paramNames = [...][]byte{[]byte("name"), []byte("uri"), []byte("taskId"), []byte("arguments"), []byte("_meta"), []byte("cursor"),
		[]byte("requestId"), []byte("ref")}
	refNames = [...][]byte{[]byte("type"), []byte("name"), []byte("uri")}
)

// folds reports whether name is one of the list but for its capitals.
func folds(name []byte, list [][]byte) bool {
	for _, one := range list {
		if bytes.EqualFold(name, one) {
			return true
		}
	}
	return false
}
