package http1_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

const (
	benchBody   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello, world"},"_meta":{}}}`
	benchAnswer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello, world"}],"isError":false}}`
	benchHead   = "POST /echo/mcp HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1\r\nAccept: application/json, text/event-stream\r\n" +
		"Content-Type: application/json\r\nMcp-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: 0123456789abcdef0123456789abcdef\r\n" +
		"x-litellm-api-key: Bearer sk-0123456789abcdef0123456789abcdef\r\ntraceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n"
)

var (
	benchType   = []string{"application/json"}
	benchLength = []string{strconv.Itoa(len(benchAnswer))}
)

// BenchmarkRequests compares what one request costs here and in net/http: 32 keep-alive connections, a fixed answer. cpu-ns/op is the CPU time
// of the process, the clients' share (the same in all, see "nothing") included.
func BenchmarkRequests(b *testing.B) {
	b.Run("http1", func(b *testing.B) {
		s, err := http1.New(http1.Config{Handle: echo, Fallback: func(c net.Conn) { c.Close() }, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		load(b, s.Serve)
	})
	b.Run("net-http", func(b *testing.B) {
		l := newQueue()
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			drain(r.Body)
			h := w.Header()
			h["Content-Type"], h["Content-Length"] = benchType, benchLength
			w.WriteHeader(http.StatusOK)
			w.Write(benchBytes)
		})}
		go s.Serve(l)
		defer s.Close()
		load(b, l.give)
	})
	b.Run("nothing", func(b *testing.B) { // the floor: two system calls
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: " + benchLength[0] + "\r\n\r\n" + benchAnswer)
		load(b, func(c net.Conn) {
			for p := make([]byte, 4<<10); ; {
				if _, err := c.Read(p); err != nil {
					return
				}
				c.Write(answer)
			}
		})
	})
}

var (
	benchBytes = []byte(benchAnswer)
	scratch    = sync.Pool{New: func() any { return new([512]byte) }}
)

func drain(r io.Reader) {
	p := scratch.Get().(*[512]byte)
	defer scratch.Put(p)
	for _, err := r.Read(p[:]); err == nil; _, err = r.Read(p[:]) {
	}
}

func echo(in *request.Inbound, sink reply.Sink) {
	drain(in.Body)
	h := sink.Header()
	h["Content-Type"], h["Content-Length"] = benchType, benchLength
	sink.WriteHeader(http.StatusOK)
	sink.Write(benchBytes)
}

// load runs b.N requests over 32 connections that serve serves.
func load(b *testing.B, serve func(net.Conn)) {
	const conns = 32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var clients [conns]net.Conn
	var wg sync.WaitGroup
	for i := range clients {
		if clients[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { serve(c) })
	}
	question := []byte(benchHead + "Content-Length: " + strconv.Itoa(len(benchBody)) + "\r\n\r\n" + benchBody)
	var callers sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for i := range clients {
		callers.Go(func() {
			p := make([]byte, 4<<10)
			for n := i; n < b.N; n += conns {
				clients[i].Write(question)
				for at := 0; !bytes.HasSuffix(p[:at], []byte(benchAnswer)); {
					n, err := clients[i].Read(p[at:])
					if err != nil {
						b.Error(err)
						return
					}
					at += n
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
	for _, c := range clients {
		c.Close()
	}
	wg.Wait()
}

func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
