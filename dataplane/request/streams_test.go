package request_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// eventually waits for something that happens on another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for by := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(by) {
			t.Fatalf("it never happened: %s", what)
		}
	}
}

// hanging is an upstream that begins to answer as told and then waits for its caller to leave.
func hanging(t *testing.T, first string) (up *mcptest.Upstream, begun, left chan struct{}) {
	begun, left = make(chan struct{}, 16), make(chan struct{}, 16)
	return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch first {
		case "event":
			w.Header().Set("Content-Type", "text/event-stream")
			mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		case "json":
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"jsonrpc":"2.0",` + strings.Repeat(" ", 200<<10))) //nolint:errcheck // a test server
			w.(http.Flusher).Flush()                                            //nolint:forcetypeassert // net/http's writers all flush
		}
		begun <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})), begun, left
}

// A caller who leaves ends the upstream's work at once, wherever the call stands and in either version of HTTP.
func TestCallersWhoLeaveEndTheUpstreamCall(t *testing.T) {
	for _, first := range []string{"nothing", "event", "json"} {
		up, begun, left := hanging(t, first)
		g := start(t, one(up.URL))
		for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2c(t)} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				if method == http.MethodGet && first == "json" {
					continue // a refusal
				}
				ctx, leave := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, method, g.url+"/up/mcp", strings.NewReader(list))
				fatal(t, err)
				req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}, "Accept": {"text/event-stream"}}
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if res, err := client.Do(req); err == nil {
						io.Copy(io.Discard, res.Body) //nolint:errcheck // it is cut
						res.Body.Close()
					}
				}()
				<-begun
				at := time.Now()
				leave()
				select {
				case <-left:
					if d := time.Since(at); d > 5*time.Second {
						t.Errorf("%s %s after %s: the upstream learned of it after %v", name, method, first, d)
					}
				case <-time.After(20 * time.Second):
					t.Errorf("%s %s after %s: the upstream never learned of it", name, method, first)
				}
				<-gone
			}
		}
		eventually(t, "all records are closed", func() bool { return strings.Contains(g.metrics(t), "hopgate_active_requests{region=\"test\"} 0") })
		if log := g.flushed(); first == "nothing" && !strings.Contains(log, " 499 ") || strings.Contains(log, "internal") {
			t.Errorf("access log: %s", log)
		}
	}
}

// Each caller may hold so many long-lived streams open, of both kinds together.
func TestStreamsPerCallerAreLimited(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			(&mcptest.Modern{}).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		<-r.Context().Done()
	}))
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"other": server(up.URL)}, limits: &configv1.Limits{StreamsPerPrincipal: 2}})
	get := g.open(t, http.MethodGet, "/other/mcp", "", legacy...)
	defer get.Body.Close()
	post := g.open(t, http.MethodPost, "/other/mcp", modernCall("subscriptions/listen", `"notifications":{}`), modernHeads("subscriptions/listen", "")...)
	defer post.Body.Close()
	for method, heads := range map[string][]string{http.MethodGet: legacy, http.MethodPost: modernHeads("subscriptions/listen", "")} {
		a := g.send(t, method, "/other/mcp", modernCall("subscriptions/listen", `"notifications":{}`), heads...)
		if a.status != 429 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=client; phase=limit; kind=exhausted") {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	if a := g.send(t, http.MethodPost, "/other/mcp", list, with(legacy, "X-Litellm-Api-Key", bob)...); a.status != 200 {
		t.Errorf("calls aren't streams: %d %s", a.status, a.body)
	}
	theirs := g.open(t, http.MethodGet, "/other/mcp", "", with(legacy, "X-Litellm-Api-Key", bob)...)
	theirs.Body.Close()
	if theirs.StatusCode != http.StatusOK {
		t.Errorf("another caller: %d", theirs.StatusCode)
	}
	get.Body.Close()
	eventually(t, "the place is free again", func() bool {
		res := g.open(t, http.MethodGet, "/other/mcp", "", legacy...)
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func with(heads []string, more ...string) []string {
	return append(append([]string{}, heads...), more...)
}

// Quiet streams are kept alive by comments, between the events and never inside one.
func TestQuietStreamsAreKeptAlive(t *testing.T) {
	up, begun, _ := hanging(t, "event")
	s := one(up.URL)
	s.keepAlive = 60 * time.Millisecond
	s.listen.WriteTimeout = 500 * time.Millisecond // ten comments take longer
	g := start(t, s)
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2c(t)} {
		req, err := http.NewRequest(http.MethodPost, g.url+"/up/mcp", strings.NewReader(list))
		fatal(t, err)
		req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}, "Accept": {"text/event-stream"}}
		res, err := client.Do(req)
		fatal(t, err)
		<-begun
		r := bufio.NewReader(res.Body)
		event(t, r)
		for range 10 {
			if line, err := r.ReadString('\n'); err != nil || line != ": keep-alive\n" {
				t.Fatalf("%s: %q %v", name, line, err)
			}
		}
		res.Body.Close()
	}
}

// A stream on which nothing is said for longer than the write limit stays open, in either version of HTTP.
func TestQuietStreamsOutliveTheWriteLimit(t *testing.T) {
	notes := make(chan string)
	up := mcptest.Start(t, &mcptest.Modern{Notes: notes})
	s := one(up.URL)
	s.keepAlive = -1
	s.listen.WriteTimeout = 300 * time.Millisecond
	g := start(t, s)
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2c(t)} {
		req, err := http.NewRequest(http.MethodPost, g.url+"/up/mcp", strings.NewReader(modernCall("subscriptions/listen", `"notifications":{}`)))
		fatal(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Litellm-Api-Key", alice)
		for i, h := 0, modernHeads("subscriptions/listen", "-"); i < len(h); i += 2 {
			req.Header.Set(h[i], h[i+1])
		}
		res, err := client.Do(req)
		fatal(t, err)
		r := bufio.NewReader(res.Body)
		event(t, r)
		<-time.NewTimer(400 * time.Millisecond).C
		notes <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
		if e := event(t, r); !strings.Contains(e, "list_changed") {
			t.Errorf("%s: %s", name, e)
		}
		res.Body.Close()
	}
}

// A caller who doesn't read loses the connection, and the upstream's call ends with it.
func TestCallersWhoDontReadAreLetGo(t *testing.T) {
	left := make(chan struct{}, 1)
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for data := `{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`; r.Context().Err() == nil; {
			mcptest.Event(w, "", data)
		}
		left <- struct{}{}
	}))
	s := one(up.URL)
	s.listen.WriteTimeout = 100 * time.Millisecond
	g := start(t, s)
	c := g.dial(t)
	if _, err := io.WriteString(c, head("GET", "/up/mcp", alice, "Accept: text/event-stream")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on and on")
	}
}

// A long-lived stream has a short record at its opening and another at its end, linked.
func TestLongStreamsHaveTwoShortRecords(t *testing.T) {
	notes := make(chan string)
	up := mcptest.Start(t, &mcptest.Modern{Notes: notes})
	s := one(up.URL)
	s.ratio = "1"
	g := start(t, s)
	res := g.open(t, http.MethodPost, "/up/mcp", modernCall("subscriptions/listen", `"notifications":{}`), modernHeads("subscriptions/listen", "")...)
	r := bufio.NewReader(res.Body)
	event(t, r)
	eventually(t, "the opening is told", func() bool { return len(g.spans.GetSpans()) > 0 })
	opening := tree(g.spans.GetSpans())
	if opening.name != "subscriptions/listen" || opening.child("subscriptions/listen") == nil || opening.id != res.Header.Get("X-Hopgate-Trace-Id") {
		t.Fatalf("opening: %s", opening)
	}
	if !strings.Contains(g.metrics(t), `hopgate_active_streams{region="test"} 1`) {
		t.Error("the stream isn't counted")
	}
	g.spans.Reset()
	notes <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	event(t, r)
	lasted := time.Now()
	res.Body.Close()
	eventually(t, "the end is told", func() bool { return len(g.spans.GetSpans()) > 0 })
	spans := g.spans.GetSpans()
	end := spans[0]
	if len(spans) != 1 || len(end.Links) != 1 || end.Links[0].SpanContext.TraceID().String() != opening.id || end.StartTime.Before(lasted) {
		t.Errorf("end: %+v", spans)
	}
	if tree(spans).failed != "" || opening.failed != "" {
		t.Errorf("a stream that its caller left counts as failed: %s, %s", opening, tree(spans))
	}
	log := g.flushed()
	if strings.Count(log, "\n") != 2 || strings.Count(log, "outcome=ok") != 2 {
		t.Errorf("access log: %s", log)
	}
}

// A broken upstream breaks the caller's long-lived stream, too, so that the caller comes back.
func TestLongStreamsThatBreakAreBroken(t *testing.T) {
	cut := mcptest.Start(t, mcptest.Cut(false))
	g := start(t, one(cut.URL))
	a := g.send(t, http.MethodGet, "/up/mcp", "", "Accept", "text/event-stream")
	if a.status != 200 || !strings.Contains(a.body, "working") || !strings.Contains(a.body, "(body: ") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if log := g.flushed(); !strings.Contains(log, "fault=upstream/stream/reset") {
		t.Errorf("access log: %s", log)
	}
}

// subscriptions/listen can only be answered by a stream.
func TestSubscriptionsNeedAStream(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Modern{})
	g := start(t, one(up.URL))
	a := g.send(t, http.MethodPost, "/up/mcp", modernCall("subscriptions/listen", `"notifications":{}`), modernHeads("subscriptions/listen", "", "Accept", "application/json")...)
	if a.status != 406 || len(up.Seen()) != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A server without subscriptions says so in its own words, and the caller's place is free again.
func TestRefusedSubscriptions(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`
	for _, status := range []int{200, 404} {
		up := mcptest.Start(t, mcptest.Status(status, "application/json", body))
		s := one(up.URL)
		s.limits = &configv1.Limits{StreamsPerPrincipal: 1}
		g := start(t, s)
		for range 2 {
			a := g.send(t, http.MethodPost, "/up/mcp", modernCall("subscriptions/listen", `"notifications":{}`), modernHeads("subscriptions/listen", "")...)
			if a.status != status || a.body != body {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	}
}
