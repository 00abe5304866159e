package hop_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// BenchmarkSend is one call over a kept connection to a server with one instance and no limits, the usual case.
func BenchmarkSend(b *testing.B) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}`)
	addr := canned(b, len(body))
	port, err := strconv.Atoi(addr[len("127.0.0.1:"):])
	if err != nil {
		b.Fatal(err)
	}
	client, err := transport.New(transport.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	s := &table.Server{Name: "up", Protocol: "auto", Resilience: table.Resilience{BreakerFailures: 5, Retries: 1},
		Target: &table.Target{Scheme: "http", Host: addr, Addr: addr, Hostname: "127.0.0.1", Port: port, Path: "/mcp", Origin: "http://" + addr, Key: "http " + addr}}
	h := hop.New(client, "test")
	c := &hop.Call{Server: s, Settings: &table.Settings{Result: 1 << 20, Event: 1 << 20}, Method: http.MethodPost, Body: body}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var rec telemetry.Record
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		a, err := h.Send(ctx, c, &rec)
		if err != nil {
			b.Fatal(err)
		}
		if buf, err = a.ReadAll(buf[:0], 0); err != nil {
			b.Fatal(err)
		}
		a.Close()
	}
}

// canned answers every request with the same bytes, reading as little as it can.
func canned(b *testing.B, size int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go can(c, size)
		}
	}()
	return l.Addr().String()
}

func can(c net.Conn, size int) {
	defer c.Close()
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"result":{}}`)
	for r := bufio.NewReaderSize(c, 8<<10); ; {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := r.Discard(size); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}
