package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

const answer = ok + "Content-Type: application/json\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nMcp-Session-Id: 0123456789abcdef0123456789abcdef\r\nContent-Length: 62\r\n\r\n" +
	`{"jsonrpc":"2.0","id":1,"result":{"content":[],"x":"01234567"}}`

// instant answers whole requests of a known size without parsing them: as little server as can be.
func instant(size int, reply []byte) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReaderSize(c, 8<<10)
		for {
			for {
				l, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(l) == 2 {
					break
				}
			}
			if _, err := br.Discard(size); err != nil {
				return
			}
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	}
}

func reply() []byte { return []byte(strings.Replace(answer, "62", "63", 1)) }

func BenchmarkCall(b *testing.B) {
	addr := listen(b, instant(len(ping), reply()))
	b.Run("transport", func(b *testing.B) {
		c, to, q := newClient(b, transport.Config{}), targetAt(addr), post(ping)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var tm telemetry.Timing
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			res, err := c.Do(ctx, to, q, &tm)
			if err != nil {
				b.Fatal(err)
			}
			if buf, err = res.ReadAll(buf[:0], 0); err != nil {
				b.Fatal(err)
			}
			res.Close()
		}
	})
	b.Run("net-http", func(b *testing.B) {
		tr := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
		defer tr.CloseIdleConnections()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		buf := make([]byte, 100)
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/mcp", bytes.NewReader([]byte(ping)))
			req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "User-Agent": nil}
			res, err := tr.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, buf[:res.ContentLength]); err != nil {
				b.Fatal(err)
			}
			res.Body.Close()
		}
	})
	b.Run("bare-socket", func(b *testing.B) { // what the kernel costs
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		request, buf := []byte("POST /mcp HTTP/1.1\r\nHost: "+addr+"\r\nContent-Length: 40\r\n\r\n"+ping), make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			nc.Write(request)
			if _, err := nc.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// replay is an idle connection that has its answer ready: what remains is the client's own work, with its look at the socket and its
// deadlines, but without the kernel's share of reading and writing.
type replay struct {
	net.Conn
	whole, left []byte
}

func (r *replay) Write(p []byte) (int, error) { r.left = r.whole; return len(p), nil }

func (r *replay) Read(p []byte) (int, error) {
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *replay) SyscallConn() (syscall.RawConn, error) { return r.Conn.(syscall.Conn).SyscallConn() }

func BenchmarkOwnWork(b *testing.B) {
	for name, a := range map[string][]byte{"json": reply(), "chunked": []byte(ok + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(`{"jsonrpc":"2.0","id":1,"result":{}}`, 100))} {
		b.Run(name, func(b *testing.B) {
			idle, err := net.Dial("tcp", listen(b, func(nc net.Conn) { io.Copy(io.Discard, nc) }))
			if err != nil {
				b.Fatal(err)
			}
			nc := &replay{Conn: idle, whole: a}
			c := newClient(b, transport.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil }})
			to, q := targetAt("127.0.0.1:1"), post(ping)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var tm telemetry.Timing
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				res, err := c.Do(ctx, to, q, &tm)
				if err != nil {
					b.Fatal(err)
				}
				buf, _ = res.ReadAll(buf[:0], 0)
				res.Close()
			}
		})
	}
}

func BenchmarkLargeAnswer(b *testing.B) {
	const size = 4 << 20
	addr := listen(b, instant(len(ping), []byte(fmt.Sprintf(ok+"Content-Length: %d\r\n\r\n", size)+strings.Repeat("x", size))))
	c, to, q := newClient(b, transport.Config{}), targetAt(addr), post(ping)
	var buf []byte
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		res, err := c.Do(context.Background(), to, q, nil)
		if err != nil {
			b.Fatal(err)
		}
		if buf, err = res.ReadAll(buf[:0], 0); err != nil || len(buf) != size {
			b.Fatal(len(buf), err)
		}
		res.Close()
	}
}

func BenchmarkLargeRequest(b *testing.B) {
	const size = 1 << 20
	addr := listen(b, instant(size, reply()))
	c, to, q := newClient(b, transport.Config{}), targetAt(addr), post(strings.Repeat("x", size))
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := call(c, to, q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	event := "event: message\r\nid: 12345\r\ndata: " + strings.Repeat("x", 300) + "\r\n\r\n"
	block := []byte(strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", len(event), event), 100))
	addr := listen(b, func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		_, err := io.WriteString(c, sse+"Transfer-Encoding: chunked\r\n\r\n")
		for err == nil {
			_, err = c.Write(block)
		}
	})
	q := post(ping)
	q.Stream = true
	res, err := newClient(b, transport.Config{}).Do(context.Background(), targetAt(addr), q, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Close()
	var buf []byte
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = res.NextEvent(buf[:0], 0); err != nil || len(buf) < len(event)-1 {
			b.Fatal(len(buf), err)
		}
	}
}
