package face_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/face"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
)

const cancelled = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`

// holding is a server that answers nothing but initialize until leave is closed; waiting counts what it holds.
func holding(t *testing.T) (up *mcptest.Upstream, waiting *atomic.Int64, leave chan struct{}) {
	leave, waiting = make(chan struct{}), new(atomic.Int64)
	return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		if m.Method == "initialize" {
			mcptest.Result(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
			return
		}
		waiting.Add(1)
		defer waiting.Add(-1)
		select {
		case <-leave:
		case <-r.Context().Done():
		}
		if len(m.ID) == 0 {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		mcptest.Result(w, m, "{}")
	})), waiting, leave
}

// Red when a client can have any number of notifications served at once, or when requests under way keep its answers to the server out.
func TestNotificationsOfAnOldStreamAreBounded(t *testing.T) {
	up, waiting, leave := holding(t)
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	for range 16 {
		l.send(t, r, asks)
	}
	status := make(chan int, 17)
	post := func() { status <- r.send(t, "POST", l.post, cancelled).status }
	for range 16 {
		go post()
	}
	eventually(t, "requests keep notifications out", func() bool { return waiting.Load() == 32 })
	go post()
	select {
	case got := <-status:
		if got != 429 {
			t.Errorf("the 17th: %d", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("the 17th is served")
	}
	close(leave)
	for range 16 {
		if got := <-status; got != 202 {
			t.Errorf("%d", got)
		}
		l.want(t, `"id":2`)
	}
	l.send(t, r, cancelled)
}

// brittle is a caller's connection that panics when a text is written to it.
type brittle struct {
	on     string
	header http.Header
	mu     sync.Mutex
	text   strings.Builder // guarded by mu
	over   bool            // guarded by mu; it was broken off
}

func (b *brittle) Header() http.Header { return b.header }
func (b *brittle) WriteHeader(int)     {}
func (b *brittle) Flush() error        { return nil }

func (b *brittle) Write(p []byte) (int, error) {
	if strings.Contains(string(p), b.on) {
		panic("written")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *brittle) Abort() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

func (b *brittle) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Red when the process ends.
func TestADefectEndsTheOldStreamOnly(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	r := start(t, one(up.URL))
	peers, err := peer.New(peer.Config{Table: r.holder})
	fatal(t, err)
	defer peers.Close()
	faces, err := face.New(r.handler, peers)
	fatal(t, err)
	inbound := func(method, path, body string) *request.Inbound {
		path, query, _ := strings.Cut(path, "?")
		return &request.Inbound{Context: context.Background(), Method: method, Path: path, Query: query, Host: "127.0.0.1", Remote: "127.0.0.1:1", Proto: "HTTP/1.1",
			Header: http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}}, Body: strings.NewReader(body), Length: int64(len(body))}
	}
	caller := &brittle{on: "protocolVersion", header: http.Header{}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		faces.Serve(inbound("GET", "/up/sse", ""), caller)
	}()
	eventually(t, "no stream", func() bool { return strings.HasSuffix(caller.said(), "\n\n") })
	_, at, _ := strings.Cut(strings.TrimSpace(caller.said()), "data: ")
	faces.Serve(inbound("POST", at, hello), &brittle{on: "nothing", header: http.Header{}})
	select {
	case <-over:
	case <-time.After(5 * time.Second):
		t.Fatal("the stream goes on")
	}
	if !caller.over {
		t.Error("the stream ended as if nothing were wrong")
	}
	eventually(t, "no record of it", func() bool { return strings.Contains(r.access.String(), "internal") })
	if got := r.send(t, "POST", "/up/mcp", hello); got.status != 200 {
		t.Errorf("others: %d %s", got.status, got.body)
	}
}

// Red when a drain cuts calls that came over a stream, or when their stream takes more of them.
func TestADrainLetsCallsOnOldStreamsEnd(t *testing.T) {
	up, waiting, leave := holding(t)
	r := start(t, one(up.URL))
	l, idle := r.listen(t, "/up/sse"), r.listen(t, "/up/sse")
	l.send(t, r, hello)
	l.want(t, "protocolVersion")
	l.send(t, r, asks)
	eventually(t, "no call", func() bool { return waiting.Load() == 1 })
	r.handler.EndStreams()
	idle.ended(t)
	eventually(t, "requests are still taken", func() bool {
		got := r.send(t, "POST", l.post, hello)
		return got.status == 404 && strings.Contains(got.body, "-32001")
	})
	told := make(chan int, 1)
	go func() { told <- r.send(t, "POST", l.post, cancelled).status }() // what is about the call reaches the server
	eventually(t, "no notifications are taken", func() bool { return waiting.Load() == 2 })
	close(leave)
	for kind, data := l.next(t); !strings.Contains(data, `"id":2,"result"`); kind, data = l.next(t) {
		if !strings.Contains(data, "protocolVersion") {
			t.Fatalf("%s %s", kind, data)
		}
	}
	l.ended(t)
	if got := <-told; got != 202 {
		t.Errorf("%d", got)
	}
}

// Red when who leaves during a drain is waited for.
func TestADrainDoesntWaitForWhoHasLeft(t *testing.T) {
	up, waiting, leave := holding(t)
	defer close(leave)
	r := start(t, one(up.URL))
	l := r.listen(t, "/up/sse")
	l.send(t, r, asks)
	eventually(t, "no call", func() bool { return waiting.Load() == 1 })
	r.handler.EndStreams()
	l.leave()
	eventually(t, "its call goes on", func() bool { return waiting.Load() == 0 })
	eventually(t, "its stream is kept", func() bool { return r.send(t, "POST", l.post, cancelled).status == 404 })
}
