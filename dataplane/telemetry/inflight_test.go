package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

func TestRequestsInFlight(t *testing.T) {
	k := newKit(t, nil)
	hanging := &telemetry.Record{Start: time.Now().Add(-time.Minute), HTTPMethod: "POST", Path: "/everything/mcp", ClientAddr: "127.0.0.1:5"}
	fresh := &telemetry.Record{}
	k.Begin(fresh)
	k.Begin(hanging)
	hanging.Method, hanging.Tool, hanging.Server, hanging.Caller = "tools/call", "slow", "everything", "alice"
	k.Step(hanging, telemetry.StepUpstream)
	got := k.InFlight(10)
	if len(got) != 2 {
		t.Fatal(got)
	}
	h := got[0]
	if h.Step != telemetry.StepUpstream || h.Method != "tools/call" || h.Tool != "slow" || h.Server != "everything" || h.Caller != "alice" ||
		h.HTTP != "POST /everything/mcp" || h.Client != "127.0.0.1:5" || len(h.TraceID) != 32 || time.Since(h.Since) > 30*time.Second {
		t.Errorf("%+v", h)
	}
	if got[1].Step != telemetry.StepAuth {
		t.Errorf("%+v", got[1])
	}
	if n := len(k.InFlight(1)); n != 1 {
		t.Errorf("%d with limit 1", n)
	}
	k.Finish(hanging)
	k.Step(hanging, telemetry.StepReply) // too late, harmless
	k.Finish(fresh)
	if n := len(k.InFlight(10)); n != 0 {
		t.Errorf("%d left", n)
	}
}

func TestPooledRecordsComeAndGo(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer, c.Log = nil, nil, nil })
	pool := sync.Pool{New: func() any { return &telemetry.Record{} }}
	var workers sync.WaitGroup
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				k.InFlight(100)
				k.UpstreamHealth()
			}
		}
	})
	for range 8 {
		workers.Go(func() {
			for range 200 {
				r := pool.Get().(*telemetry.Record)
				*r = *call()
				k.Begin(r)
				k.Adopt(r, "", callerParent, "", true)
				k.Step(r, telemetry.StepUpstream)
				r.Method = "tools/list"
				k.Finish(r)
				pool.Put(r)
			}
		})
	}
	workers.Wait()
	close(stop)
	reader.Wait()
	if n := k.Active(); n != 0 || len(k.InFlight(1)) != 0 {
		t.Errorf("%d left", n)
	}
}

func TestRequestsPage(t *testing.T) {
	k := newKit(t, nil)
	r := &telemetry.Record{HTTPMethod: "POST", Path: "/everything/mcp", Method: "tools/call", Tool: "a\tb\nforged"}
	k.Begin(r)
	defer k.Finish(r)
	k.Step(r, telemetry.StepRoute)
	get := func(method, target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		k.ServeRequests(w, httptest.NewRequest(method, target, nil))
		return w
	}
	text := get(http.MethodGet, "/debug/requests").Body.String()
	if !strings.HasPrefix(text, "1 requests in flight\n") || strings.Count(text, "\n") != 4 || !strings.Contains(text, `"a\tb\nforged"`) {
		t.Error(text)
	}
	m := decode(t, get(http.MethodGet, "/debug/requests?format=json").Body.String())
	first := m["requests"].([]any)[0].(map[string]any)
	if m["active"] != 1.0 || first["step"] != "route" || first["method"] != "tools/call" || first["http"] != "POST /everything/mcp" {
		t.Error(m)
	}
	if w := get(http.MethodPost, "/debug/requests"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Error(w.Code, w.Header())
	}
}
