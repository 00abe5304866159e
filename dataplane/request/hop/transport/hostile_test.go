package transport_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

const ok = "HTTP/1.1 200 OK\r\n"

// hostile are answers no careful server would give; the connection is closed behind each.
var hostile = []struct {
	name, answer string
	phase        fault.Phase
	kind         fault.Kind
}{
	{"nothing", "", fault.Headers, fault.Reset},
	{"half a status line", "HTTP/1.1 20", fault.Headers, fault.Reset},
	{"half a head", ok + "Content-Length: 2\r\n", fault.Headers, fault.Reset},
	{"not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", fault.Headers, fault.Malformed},
	{"not HTTP without line end", "220 smtp", fault.Headers, fault.Malformed},
	{"TLS alert", "\x15\x03\x01\x00\x02\x02\x16", fault.Headers, fault.Malformed},
	{"HTTP/2 settings", "\x00\x00\x12\x04\x00\x00\x00\x00\x00secret", fault.Headers, fault.Malformed},
	{"HTTP/2 status", "HTTP/2 200\r\n\r\n", fault.Headers, fault.Malformed},
	{"HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"status not a number", "HTTP/1.1 2x0 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"status too small", "HTTP/1.1 099 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"status too large", "HTTP/1.1 600 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"NUL in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", fault.Headers, fault.Malformed},
	{"lower case", "http/1.1 200 OK\r\n\r\n", fault.Headers, fault.Malformed},
	{"folded header", ok + "A: b\r\n c\r\n\r\n", fault.Headers, fault.Malformed},
	{"folded by tab", ok + "A: b\r\n\tc\r\n\r\n", fault.Headers, fault.Malformed},
	{"no colon", ok + "secret\r\n\r\n", fault.Headers, fault.Malformed},
	{"no name", ok + ": b\r\n\r\n", fault.Headers, fault.Malformed},
	{"blank before colon", ok + "A : b\r\n\r\n", fault.Headers, fault.Malformed},
	{"blank in name", ok + "A B: b\r\n\r\n", fault.Headers, fault.Malformed},
	{"CR in value", ok + "A: b\rc\r\n\r\n", fault.Headers, fault.Malformed},
	{"NUL in value", ok + "A: b\x00c\r\n\r\n", fault.Headers, fault.Malformed},
	{"129 fields", ok + strings.Repeat("A: b\r\n", 129) + "\r\n", fault.Headers, fault.TooLarge},
	{"head above 64 KiB", ok + strings.Repeat("A: "+strings.Repeat("b", 8000)+"\r\n", 9) + "\r\n", fault.Headers, fault.TooLarge},
	{"line above 64 KiB", ok + "A: " + strings.Repeat("b", 70_000) + "\r\n\r\n", fault.Headers, fault.TooLarge},
	{"endless status line", "HTTP/1.1 200 " + strings.Repeat("b", 70_000), fault.Headers, fault.Malformed},
	{"two lengths", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"list of lengths", ok + "Content-Length: 2, 2\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"negative length", ok + "Content-Length: -2\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"signed length", ok + "Content-Length: +2\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"hex length", ok + "Content-Length: 0x2\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"empty length", ok + "Content-Length:\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"huge length", ok + "Content-Length: 9999999999999999999\r\n\r\n{}", fault.Headers, fault.Malformed},
	{"length and chunked", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", fault.Headers, fault.Malformed},
	{"chunked twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", fault.Headers, fault.Malformed},
	{"gzip, chunked", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", fault.Headers, fault.Unsupported},
	{"identity", ok + "Transfer-Encoding: identity\r\n\r\n", fault.Headers, fault.Unsupported},
	{"HTTP/1.0 chunked", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", fault.Headers, fault.Malformed},
	{"101", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", fault.Headers, fault.Malformed},
	{"endless 1xx", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9) + ok + "Content-Length: 0\r\n\r\n", fault.Headers, fault.Malformed},
	{"body cut", ok + "Content-Length: 10\r\n\r\n{}", fault.Body, fault.Reset},
	{"no body at all", ok + "Content-Length: 10\r\n\r\n", fault.Body, fault.Reset},
	{"chunks without end", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", fault.Body, fault.Reset},
	{"chunk cut", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n{}", fault.Body, fault.Reset},
	{"last chunk without trailer", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", fault.Body, fault.Reset},
	{"chunk size not a number", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", fault.Body, fault.Malformed},
	{"chunk size empty", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk size negative", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", fault.Body, fault.Malformed},
	{"chunk size with 0x", ok + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk size above 60 bits", ok + "Transfer-Encoding: chunked\r\n\r\n1000000000000000\r\n", fault.Body, fault.Malformed},
	{"chunk size behind blank", ok + "Transfer-Encoding: chunked\r\n\r\n 2\r\n{}\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk size line with LF alone", ok + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk size line with CR inside", ok + "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\n{}\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk longer than it says", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}secret\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"chunk extension too long", ok + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 2000) + "\r\n{}\r\n0\r\n\r\n", fault.Body, fault.Malformed},
	{"trailer too large", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: bbbbbbbbbbbbbb\r\n", 1000) + "\r\n", fault.Body, fault.TooLarge},
	{"gzip", ok + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", fault.Body, fault.Unsupported},
	{"event stream cut", ok + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", fault.Stream, fault.Reset},
}

func TestHostileAnswers(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			c := newClient(t, transport.Config{})
			for _, drip := range []bool{false, true} {
				if drip && len(h.answer) > 2000 {
					continue
				}
				addr := listen(t, func(nc net.Conn) {
					if readRequest(bufio.NewReader(nc)) != nil {
						return
					}
					if !drip {
						io.WriteString(nc, h.answer)
						return
					}
					for i := range len(h.answer) {
						nc.Write([]byte{h.answer[i]})
					}
				})
				_, _, err := call(c, targetAt(addr), post(ping))
				wantFault(t, err, h.phase, h.kind)
			}
		})
	}
}

func TestUnusualButValidAnswers(t *testing.T) {
	for _, v := range []struct{ name, answer, body string }{
		{"length", ok + "Content-Length: 2\r\n\r\n{}", "{}"},
		{"length said twice", ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		{"LF alone in the head", "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "{}"},
		{"latin-1 in a value", ok + "Server: caf\xe9\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		{"until the end", ok + "\r\n{}", "{}"},
		{"until the end, empty", ok + "\r\n", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}", "{}"},
		{"chunks", ok + "Transfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n01\r\n}\r\n000\r\n\r\n", "{}"},
		{"chunk extensions", ok + "Transfer-Encoding: chunked\r\n\r\n2 ;a=\"b\";c\r\n{}\r\n0;d\r\n\r\n", "{}"},
		{"trailer", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\nC: d\r\n\r\n", "{}"},
		{"upper case hex", ok + "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
		{"eight interim answers", strings.Repeat("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", 8) + ok + "Content-Length: 2\r\n\r\n{}", "{}"},
		{"128 fields", ok + strings.Repeat("A: b\r\n", 127) + "Content-Length: 2\r\n\r\n{}", "{}"},
		{"head of nearly 64 KiB", ok + "A: " + strings.Repeat("b", 65_000) + "\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		{"identity coding", ok + "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ""},
		{"304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := newClient(t, transport.Config{})
			addr := listen(t, answering(v.answer, true))
			if _, body, err := call(c, targetAt(addr), post(ping)); err != nil || body != v.body {
				t.Errorf("body %q, %v; want %q", body, err, v.body)
			}
		})
	}
}

func TestCompressedAnswerKeepsItsStatus(t *testing.T) {
	c := newClient(t, transport.Config{})
	addr := listen(t, answering("HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", true))
	status, _, err := call(c, targetAt(addr), post(ping))
	if f := wantFault(t, err, fault.Body, fault.Unsupported); status != 404 || f.UpstreamStatus != 404 {
		t.Errorf("status %d, fault's %d", status, f.UpstreamStatus)
	}
}
