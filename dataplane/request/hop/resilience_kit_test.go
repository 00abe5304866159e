package hop_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// instances is a server with an instance per URL, ids from 1, and what r says.
func instances(t testing.TB, r table.Resilience, urls ...string) *table.Server {
	t.Helper()
	s := *compiled(t, "up", urls[0], "auto")
	s.Resilience, s.Instances = r, nil
	s.Timeouts = table.Timeouts{Connect: 5 * time.Second, FirstByte: 5 * time.Second, Idle: 5 * time.Second, List: 5 * time.Second}
	for i, u := range urls {
		target := *compiled(t, "up", u, "auto").Target
		target.ID = uint32(i + 1)
		s.Instances = append(s.Instances, &target)
	}
	s.Target = s.Instances[0]
	return &s
}

func listOf(s *table.Server) *hop.Call {
	return &hop.Call{Server: s, Settings: &table.Settings{Result: 1 << 20, Event: 1 << 20}, Method: http.MethodPost, Repeatable: true,
		Body: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)}
}

func callOf(s *table.Server) *hop.Call {
	c := listOf(s)
	c.Repeatable, c.Body = false, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`)
	return c
}

// outcome sends a call, reads and closes its answer.
func outcome(h *hop.Hop, ctx context.Context, c *hop.Call) (status int, body string, rec *telemetry.Record, err error) { //nolint:revive // reads better
	rec = &telemetry.Record{}
	a, err := h.Send(ctx, c, rec)
	if err != nil {
		return 0, "", rec, err
	}
	defer a.Close()
	b, err := a.ReadAll(nil, 0)
	return a.Status, string(b), rec, err
}

// answers is a server that answers every request.
func answers(t testing.TB) *mcptest.Upstream {
	return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mcptest.Result(w, mcptest.Read(r), `{}`) }))
}

// resetting reads whole requests, counts them, and resets the connection instead of answering.
type resetting struct {
	url  string
	runs atomic.Int64
}

func startResetting(t testing.TB) *resetting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resetting{url: "http://" + l.Addr().String() + "/mcp"}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return r
}

func (r *resetting) serve(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	io.Copy(io.Discard, req.Body)
	r.runs.Add(1)
	c.(*net.TCPConn).SetLinger(0)
}

func kindOf(t testing.TB, err error) fault.Kind {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("no fault: %v", err)
	}
	return f.Kind
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}
