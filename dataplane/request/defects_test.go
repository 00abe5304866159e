package request_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Before any config has come there is nothing to refuse by: 503, and the health paths say the same.
func TestWithoutConfig(t *testing.T) {
	g := start(t, settings{empty: true, ready: func() ([]byte, bool) { return []byte(`{"status":"no config"}`), false }})
	a := g.send(t, http.MethodPost, "/up/mcp", list)
	if a.status != 503 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=control; phase=config; kind=unavailable") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.send(t, http.MethodGet, "/readyz", ""); a.status != 503 || a.body != `{"status":"no config"}` {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
	if a := g.send(t, http.MethodGet, "/healthz", ""); a.status != 200 {
		t.Errorf("healthz: %d %s", a.status, a.body)
	}
	g.holder.Store(compiled(t, one(mcptest.Start(t, mcptest.Stateless()).URL)))
	if a := g.send(t, http.MethodPost, "/up/mcp", list); a.status != 200 {
		t.Errorf("with config: %d %s", a.status, a.body)
	}
}

func TestExpiredKeys(t *testing.T) {
	old := "sk-old-0123456789abcdef99"
	s := one(mcptest.Start(t, mcptest.Stateless()).URL)
	s.keys = map[string]*configv1.ApiKeySpec{"old": {Sha256: digest(old), Servers: []string{"*"}, Expires: "2020-01-01T00:00:00Z"}}
	g := start(t, s)
	a := g.send(t, http.MethodPost, "/up/mcp", list, "X-Litellm-Api-Key", old)
	if a.status != 401 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=client; phase=auth; kind=expired") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A panic in a stage is a fault of the gateway; the process and its other requests live on.
func TestPanicsAreFaults(t *testing.T) {
	s := one(mcptest.Start(t, mcptest.Stateless()).URL)
	s.ready = func() ([]byte, bool) { panic("secret thing") }
	g := start(t, s)
	for range 3 {
		a := g.send(t, http.MethodGet, "/readyz", "")
		if a.status != 500 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=gateway; phase=request; kind=internal") || strings.Contains(a.body, "secret") {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := g.send(t, http.MethodPost, "/up/mcp", list, legacy...); a.status != 200 {
			t.Errorf("the next request: %d %s", a.status, a.body)
		}
	}
	if log := g.log.String(); !strings.Contains(log, "secret thing") || !strings.Contains(log, "defects_test.go") {
		t.Errorf("log: %s", log)
	}
	if m := g.metrics(t); !strings.Contains(m, `hopgate_active_requests{region="test"} 0`) {
		t.Errorf("a record was left open: %s", m)
	}
}

// broken is a caller whose answer can't be written.
type broken struct {
	*httptest.ResponseRecorder
	aborted bool
}

func (b *broken) Write([]byte) (int, error) { panic("no writing") }
func (b *broken) Flush() error              { return nil }
func (b *broken) Abort()                    { b.aborted = true }

// A panic while an answer is written breaks the answer off and closes the record.
func TestPanicsBehindTheHeadBreakTheAnswer(t *testing.T) {
	g := start(t, one(mcptest.Start(t, mcptest.Stateless()).URL))
	sink := &broken{ResponseRecorder: httptest.NewRecorder()}
	g.handler.Serve(&request.Inbound{Context: t.Context(), Method: http.MethodPost, Path: "/up/mcp", Host: "localhost", Proto: "HTTP/1.1", Remote: "127.0.0.1:1",
		Header: http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}}, Body: strings.NewReader(list), Length: int64(len(list))}, sink)
	if !sink.aborted {
		t.Error("the answer looks complete")
	}
	if log := g.flushed(); !strings.Contains(log, "fault=gateway/request/internal") {
		t.Errorf("access log: %s", log)
	}
}
