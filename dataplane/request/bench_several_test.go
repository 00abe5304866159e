package request_test

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// crowd is a gateway in front of twenty servers with fifty tools of 500 bytes each, of which the first answers calls with the canned bytes.
func crowd(b *testing.B) *gateway {
	s := settings{ratio: "0.01", servers: map[string]*configv1.ServerSpec{}}
	for i := range 20 {
		up := &mcptest.Rich{Sessionless: true, Mute: true}
		for j := range 50 {
			head := fmt.Sprintf(`{"name":"tool_%02d","inputSchema":{"type":"object","properties":{"message":{"type":"string"}}},"description":"`, j)
			up.Tools = append(up.Tools, head+strings.Repeat("x", 500-len(head)-2)+`"}`)
		}
		spec := server(mcptest.Start(b, up).URL)
		spec.ListTtl = "10m"
		s.servers[fmt.Sprintf("many_%02d", i)] = spec
	}
	s.servers["many_00"].Endpoints[0].Url = "http://" + cannedUpstream(b) + "/mcp"
	return start(b, s)
}

// BenchmarkCallOfSeveral is BenchmarkCall through the endpoint of twenty servers, within a session.
func BenchmarkCallOfSeveral(b *testing.B) {
	g := crowd(b)
	body := strings.Replace(benchCall, `"echo"`, `"many_00-echo"`, 1)
	hammer(b, strings.TrimPrefix(g.url, "http://"), body, g.join(b, "/mcp"), 16)
}

// BenchmarkListOfSeveral is the list of the other nineteen servers from memory: 950 tools, half a megabyte.
func BenchmarkListOfSeveral(b *testing.B) {
	g := crowd(b)
	id := g.join(b, "/mcp")
	for range 3 {
		g.send(b, "POST", "/mcp", list, "Mcp-Session-Id", id)
	}
	hammer(b, strings.TrimPrefix(g.url, "http://"), list, id, 1)
}

// hammer sends the same request again and again to /mcp.
func hammer(b *testing.B, addr, body, session string, parallel int) {
	request := []byte("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"MCP-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: " + session + "\r\nx-litellm-api-key: Bearer " + alice +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	before := cpu()
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(parallel)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		w := wire{c: c, buf: make([]byte, 1<<20)}
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if msg, err := w.message(); err != nil || !bytes.HasPrefix(msg, []byte("HTTP/1.1 200")) || bytes.Contains(msg, []byte(`"error"`)) && parallel > 1 {
				b.Errorf("%v %s", err, msg)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}
