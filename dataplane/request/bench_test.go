package request_test

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCall is a tools/call as JSON over 32 kept connections, from socket to socket, with a key, metrics, access record and 1 % sampled
// traces. Client and upstream run in this process but only copy bytes: the allocations are the gateway's; BenchmarkDirect tells what of the
// CPU time is theirs.
func BenchmarkCall(b *testing.B) {
	s := one("http://" + cannedUpstream(b) + "/mcp")
	s.ratio = "0.01"
	g := start(b, s)
	drive(b, strings.TrimPrefix(g.url, "http://"))
}

// BenchmarkDirect is the same without a gateway between.
func BenchmarkDirect(b *testing.B) { drive(b, cannedUpstream(b)) }

func drive(b *testing.B, addr string) {
	request := []byte("POST /up/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"MCP-Protocol-Version: 2025-11-25\r\nx-litellm-api-key: Bearer " + alice + "\r\nContent-Length: " + strconv.Itoa(len(benchCall)) + "\r\n\r\n" + benchCall)
	before := cpu()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		w := wire{c: c, buf: make([]byte, 8<<10)}
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if msg, err := w.message(); err != nil || !bytes.HasPrefix(msg, []byte("HTTP/1.1 200")) {
				b.Errorf("%v %s", err, msg)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

const benchCall = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello, this is a call of ordinary size","n":42},"_meta":{"progressToken":17}}}`

const benchAnswer = `{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"Echo: hello, this is a call of ordinary size"}],"isError":false}}`

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it has no way to fail here
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cannedUpstream answers every request with the same bytes, but for the handshake with which the gateway begins.
func cannedUpstream(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer, greeting := canned(benchAnswer), canned(benchGreeting)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				w := wire{c: c, buf: make([]byte, 8<<10)}
				for {
					msg, err := w.message()
					if err != nil {
						return
					}
					out := answer
					if bytes.Contains(msg, []byte(`"initialize`)) {
						out = greeting
					}
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

const benchGreeting = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"canned","version":"1"}}}`

func canned(body string) []byte {
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// wire reads HTTP messages with a length, without allocating.
type wire struct {
	c   net.Conn
	buf []byte
}

func (w *wire) message() ([]byte, error) {
	n, want := 0, -1
	for want < 0 || n < want {
		k, err := w.c.Read(w.buf[n:])
		if err != nil {
			return nil, err
		}
		n += k
		if head := bytes.Index(w.buf[:n], []byte("\r\n\r\n")); want < 0 && head >= 0 {
			want = head + 4 + length(w.buf[:head+2])
		}
	}
	return w.buf[:n], nil
}

func length(head []byte) (n int) {
	i := bytes.Index(head, []byte("Content-Length: "))
	if i < 0 {
		return 0
	}
	for _, c := range head[i+16:] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
