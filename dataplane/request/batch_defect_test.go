package request_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request"
)

// brittle is a caller's connection that panics when it is written to.
type brittle struct {
	header http.Header
	over   bool // it was broken off
}

func (b *brittle) Header() http.Header       { return b.header }
func (b *brittle) WriteHeader(int)           {}
func (b *brittle) Flush() error              { return nil }
func (b *brittle) Write([]byte) (int, error) { panic("written") }
func (b *brittle) Abort()                    { b.over = true }

// Red when the process ends, since batches are served by goroutines of their own.
func TestADefectEndsTheBatchOnly(t *testing.T) {
	g := start(t, one(mcptest.Start(t, echoing()).URL))
	body := "[" + call("1", "x") + "," + call("2", "y") + "]"
	caller := &brittle{header: http.Header{}}
	g.handler.Serve(&request.Inbound{Context: context.Background(), Method: "POST", Path: "/up/mcp", Host: "127.0.0.1", Remote: "127.0.0.1:1", Proto: "HTTP/1.1",
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {old},
			"X-Litellm-Api-Key": {alice}}, Body: strings.NewReader(body), Length: int64(len(body))}, caller)
	if !caller.over {
		t.Error("the answer ended as if nothing were wrong")
	}
	if !strings.Contains(g.log.String(), "panic") {
		t.Errorf("nobody is told: %s", g.log.String())
	}
	eventually(t, "no record of it", func() bool { return strings.Contains(g.access.String(), "internal") })
	if got := g.send(t, "POST", "/up/mcp", body, "Mcp-Protocol-Version", old); got.status != 200 {
		t.Errorf("others: %d %s", got.status, got.body)
	}
}
