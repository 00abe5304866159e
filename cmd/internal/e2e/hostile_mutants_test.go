//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"strings"
)

// mutant appends a request that breaks RFC 9112, or may: nobody can say how it ends, so it must be among the last of its connection.
func (s *stranger) mutant(b []byte) []byte {
	s.mark = "lost-in-a-mutant"
	defer func() { s.mark = planted }()
	if s.once(2) {
		return s.framed(b)
	}
	from := len(b)
	for {
		var method string
		if b, method = s.wellFormed(b[:from]); method != "HEAD" { // an answer to HEAD can't be read by who doesn't know that it is one
			break
		}
	}
	return s.mutated(b, from)
}

// mutated changes what is behind from, a few bytes at a time.
func (s *stranger) mutated(b []byte, from int) []byte {
	for range 1 + s.IntN(6) {
		n := len(b) - from
		if n < 8 {
			return b
		}
		at := from + s.IntN(n-4)
		switch s.IntN(9) {
		case 0:
			b[at] ^= 1 << s.IntN(8)
		case 1:
			b[at] = s.pick("\x00", "\r", "\n", " ", "\t", ":", "\xff", "\x0b", "\x7f")[0]
		case 2:
			b = append(b[:at], b[at+1+s.IntN(3):]...)
		case 3:
			b = append(b[:at:at], append([]byte(s.noise(1+s.IntN(5), false)), b[at:]...)...)
		case 4:
			end := min(len(b), at+1+s.IntN(100))
			b = append(b[:end:end], b[at:]...) // a piece comes twice
		case 5:
			b = b[:at]
		case 6:
			b = append(b[:from:from], bytes.Replace(b[from:], []byte("\r\n"), []byte(s.pick("\n", "\r", "\r\r\n", "\n\n", "\r\n ", " \r\n")), 1+s.IntN(5))...)
		case 7:
			if i := bytes.IndexByte(b[at:], ':'); i >= 0 {
				b[at+i] = s.pick(" ", ";", "\t", "=")[0]
			}
		default:
			if i := bytes.Index(b[from:], []byte("Content-Length: ")); i >= 0 {
				i += from + len("Content-Length: ")
				b = append(b[:i:i], append([]byte(s.pick("-", "+", "0x", "9999999", "1", " ", "1,", "99999999999999999999")), b[i:]...)...)
			}
		}
	}
	return b
}

// smuggled is what a request hidden behind another one asks for.
const smuggled = "GET /plain/mcp HTTP/1.1\r\nHost: localhost\r\nX-Litellm-Api-Key: lost-in-a-mutant\r\n\r\n"

// framed appends one of the classic attacks on framing.
func (s *stranger) framed(b []byte) []byte {
	start := func(method, version string) {
		b = fmt.Appendf(b, "%s %s %s\r\nHost: %s\r\n", method, s.path(), version, s.known())
	}
	post := func(rest string) { start("POST", "HTTP/1.1"); b = append(b, rest...) }
	chunks := "Transfer-Encoding: chunked\r\n"
	switch s.IntN(20) {
	case 0:
		post("Content-Length: 4\r\n" + chunks + "\r\n0\r\n\r\n" + smuggled)
	case 1:
		post(chunks + "Content-Length: " + s.pick("0", "5", "60") + "\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + smuggled)
	case 2:
		post("Content-Length: " + s.pick("-1", "+5", "0x10", "1e3", "5, 5", "5 5", "", "18446744073709551616", "9223372036854775807", "99999999999999999999999", "٣") + "\r\n\r\nhello" + smuggled)
	case 3:
		post("Content-Length: 5\r\nContent-Length: " + s.pick("5", "6", "0") + "\r\n\r\nhello" + smuggled)
	case 4:
		post("Transfer-Encoding: " + s.pick("gzip", "chunked, chunked", "identity", "gzip, chunked", "xchunked", "chunked\r\nTransfer-Encoding: x", "\x0bchunked", "chunked;q=1", "") + "\r\n\r\n0\r\n\r\n" + smuggled)
	case 5:
		post(chunks + "\r\n" + s.pick("-1", "0x5", "ffffffffffffffff", "fffffffffffffffff", "5;"+strings.Repeat("e", 5000), " 5", "5 ", "", "g", "00000000000000005") + "\r\nhello\r\n0\r\n\r\n")
	case 6:
		post(chunks + "\r\n5\r\nhelloworld\r\n0\r\n\r\n" + smuggled)
	case 7:
		post(chunks + "\r\n5\r\nhello\r\n0\r\n" + s.pick("Content-Length: 9\r\n", "Host: evil\r\n", "X: "+strings.Repeat("t", 40<<10)+"\r\n", ": \r\n") + "\r\n")
	case 8:
		start(s.pick("POST", "GET"), s.pick("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/1.2", "HTTP/1.10", "http/1.1", "HTTP/", "ICY/1.1", ""))
		b = append(b, "Content-Length: 2\r\n\r\n{}"...)
	case 9:
		b = fmt.Appendf(b, "GET %s HTTP/1.1\r\n%s\r\n\r\n", s.path(), s.pick("", "Host:", "Host: ", "Host: a\r\nHost: b", "Host: a b", "Host: \x00", "Host: a/b", "Host: user@localhost", "Host: localhost#", " Host: a", "Host : localhost"))
	case 10:
		start("GET", "HTTP/1.1")
		b = fmt.Appendf(b, "X-Over: %s\r\n\r\n", strings.Repeat("o", 30<<10+s.IntN(40<<10)))
	case 11:
		start("GET", "HTTP/1.1")
		for range 100 + s.IntN(3000) {
			b = append(b, "A: b\r\n"...)
		}
		b = append(b, "\r\n"...)
	case 12:
		b = fmt.Appendf(b, "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n", strings.Repeat(s.pick("a", "%", "%2e", "/"), 4000+s.IntN(30000)))
	case 13:
		b = append(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+s.pick("", "\x00\x00\x00\x04\x00\x00\x00\x00\x00")+s.noise(s.IntN(200), false)...)
	case 14:
		start("GET", "HTTP/1.1")
		b = append(b, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "+s.pick("h2c", "websocket", "TLS/1.3", "")+"\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"...)
	case 15:
		start(s.pick("GET", "POST"), "HTTP/1.1")
		b = append(b, s.pick("X: a\r\n folded\r\n", "X: a\rb\r\n", "X: \x00\r\n", "X\x00: a\r\n", ": a\r\n", "no colon\r\n", "X : a\r\n", "\xff: a\r\n", "Expect: 100-continue\r\n", "Expect: everything\r\n", "Connection: Host, X-Litellm-Api-Key\r\n")+"\r\n"...)
	case 16:
		b = append(b, s.pick("\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03", "SSH-2.0-x\r\n", "\r\n\r\n\r\n", "GET", "POST /plain/mcp HTTP/1.1\r\nHost", "\x00\x00\x00", "EHLO x\r\n")+s.noise(s.IntN(300), false)...)
	case 17:
		b = fmt.Appendf(b, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", s.pick("GET", "CONNECT", "OPTIONS"), s.pick("http://localhost/plain/mcp", "http://evil.example/healthz", "evil.example:443", "*", "https://user@localhost/mcp", "http://", "//localhost/mcp", "mcp", "http://[::1/mcp", "/a b", "/\x00"))
	case 18:
		b = fmt.Appendf(b, "%s /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", s.pick("", " ", "G@T", "get", strings.Repeat("M", 1000), "GET\t", "\x00GET", "P\xffST"))
	default:
		post("Content-Length: 4096\r\n\r\n" + s.noise(s.IntN(200), false)) // the rest never comes
	}
	return b
}
