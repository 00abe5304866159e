package request_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// paced is a server whose calls wait for the test, beside long-lived streams of both eras.
func paced(t *testing.T) (up *mcptest.Upstream, begun chan struct{}, release chan struct{}) {
	begun, release = make(chan struct{}, 4), make(chan struct{})
	modern := &mcptest.Modern{}
	return mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch m := mcptest.Peek(r); {
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
			<-r.Context().Done()
		case m.Method == "tools/call":
			begun <- struct{}{}
			<-release
			mcptest.Result(w, m, mcptest.Text("done"))
		default:
			modern.ServeHTTP(w, r)
		}
	})), begun, release
}

// A drain first says so, then ends long-lived streams properly, then waits for the calls in flight.
func TestDrain(t *testing.T) {
	up, begun, release := paced(t)
	s := one(up.URL)
	s.listen = listen.Config{DrainDelay: 2 * time.Second} // for what is asked meanwhile
	g := start(t, s)
	get := g.open(t, http.MethodGet, "/up/mcp", "", legacy...)
	defer get.Body.Close()
	sub := g.open(t, http.MethodPost, "/up/mcp", modernCall("subscriptions/listen", `"notifications":{}`), modernHeads("subscriptions/listen", "")...)
	defer sub.Body.Close()
	events := bufio.NewReader(sub.Body)
	event(t, events)
	result := make(chan answer, 1)
	go func() { result <- g.send(t, http.MethodPost, "/up/mcp", echo, legacy...) }()
	<-begun

	g.drain()
	eventually(t, "readyz says 503", func() bool { return g.send(t, http.MethodGet, "/readyz", "").status == 503 })
	if a := g.send(t, http.MethodGet, "/healthz", ""); a.status != 200 {
		t.Errorf("healthz: %d", a.status)
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", list, legacy...); a.status != 200 {
		t.Errorf("a call during the delay: %d %s", a.status, a.body)
	}
	if rest, err := io.ReadAll(get.Body); err != nil || len(rest) > 0 {
		t.Errorf("the GET stream ended with %q, %v", rest, err)
	}
	end := event(t, events)
	if !strings.Contains(end, `"id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}`) {
		t.Errorf("the subscription ended with %s", end)
	}
	if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
		t.Errorf("and then %q, %v", rest, err)
	}
	eventually(t, "no connection is taken any more", func() bool {
		c, err := net.Dial("tcp", g.listener.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	if a := <-result; a.status != 200 || !strings.Contains(a.body, "done") {
		t.Errorf("the call in flight: %d %s", a.status, a.body)
	}
	g.stop()
	if log := g.access.String(); strings.Contains(log, "fault=") || strings.Count(log, "outcome=ok") != 2+4 {
		t.Errorf("access log:\n%s", log)
	}
}

// A stream that isn't open yet when the drain comes is refused as such.
func TestStreamsThatOpenDuringTheDrain(t *testing.T) {
	begun := make(chan struct{}, 1)
	up := mcptest.Start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	g := start(t, one(up.URL))
	result := make(chan answer, 1)
	go func() { result <- g.send(t, http.MethodGet, "/up/mcp", "", legacy...) }()
	<-begun
	g.drain()
	if a := <-result; a.status != 503 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=gateway; phase=route; kind=unavailable") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

// What doesn't end within the drain's time is cut, and still told.
func TestCallsThatOutliveTheDrainAreCut(t *testing.T) {
	up, begun, release := paced(t)
	defer close(release)
	s := one(up.URL)
	s.listen = listen.Config{DrainTimeout: 50 * time.Millisecond}
	g := start(t, s)
	failed := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/up/mcp", strings.NewReader(echo))
		req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	<-begun
	g.stop()
	if err := <-failed; err == nil {
		t.Error("the call was answered")
	}
	if log := g.access.String(); !strings.Contains(log, " 499 ") || !strings.Contains(log, "method=tools/call") {
		t.Errorf("access log: %q", log)
	}
}
