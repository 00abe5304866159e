package request_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// A caller who was admitted and then let its body wait could open a stream after its key had gone, and keep it.
func TestNoStreamOpensUnderAConfigThatHasGone(t *testing.T) {
	up := mcptest.Start(t, &mcptest.Modern{})
	s := one(up.URL)
	s.keys = map[string]*configv1.ApiKeySpec{"app": {Sha256: digest(carol), Servers: []string{"up"}}}
	g := start(t, s)
	for status, spec := range map[int]*configv1.ApiKeySpec{
		401: {Sha256: digest("sk-somebody-else-0123456789"), Servers: []string{"up"}},
		404: {Sha256: digest(carol), Servers: []string{"other"}},
		403: {Sha256: digest(carol), Servers: []string{"up"}, Tools: []*configv1.ToolRule{{Server: "up", Allow: []string{"a"}}}},
	} {
		g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: s.keys["app"]}))
		c, r, rest := g.halfway(t)
		g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: spec}))
		g.handler.Recheck()
		_, err := io.WriteString(c, rest)
		fatal(t, err)
		res, err := http.ReadResponse(r, nil)
		fatal(t, err)
		if res.StatusCode != status || len(up.Seen()) != 0 {
			t.Errorf("%d, want %d; %d requests reached the server", res.StatusCode, status, len(up.Seen()))
		}
		res.Body.Close() //nolint:errcheck // its status counted
	}
}

// halfway begins to subscribe as carol: the gateway has admitted the caller and waits for the rest.
func (g *gateway) halfway(t *testing.T) (c net.Conn, r *bufio.Reader, rest string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	fatal(t, err)
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // a test's connection
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	rest = modernCall("subscriptions/listen", `"notifications":{}`)
	fmt.Fprintf(c, "POST /up/mcp HTTP/1.1\r\nHost: %s\r\nX-Litellm-Api-Key: %s\r\nContent-Type: application/json\r\nMcp-Protocol-Version: 2026-07-28\r\n"+
		"Mcp-Method: subscriptions/listen\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
		strings.TrimPrefix(g.url, "http://"), carol, len(rest))
	r = bufio.NewReader(c)
	line, err := r.ReadString('\n')
	fatal(t, err)
	if !strings.Contains(line, " 100 ") {
		t.Fatal(line)
	}
	_, err = r.ReadString('\n')
	fatal(t, err)
	return c, r, rest
}

// A stream ends with its key, also where the end was set after it had been opened.
func TestAStreamFollowsTheEndOfItsKey(t *testing.T) {
	up, begun, _ := hanging(t, "event")
	s := one(up.URL)
	s.keys = map[string]*configv1.ApiKeySpec{"app": {Sha256: digest(carol), Servers: []string{"up"}}}
	g := start(t, s)
	res := g.open(t, http.MethodGet, "/up/mcp", "", "X-Litellm-Api-Key", carol, "Accept", "text/event-stream")
	defer res.Body.Close() //nolint:errcheck // it has ended
	<-begun
	r := bufio.NewReader(res.Body)
	event(t, r)
	soon := time.Now().Add(200 * time.Millisecond)
	g.change(t, object(t, "apikey", "app", &configv1.ApiKey{Name: "app", Spec: &configv1.ApiKeySpec{Sha256: digest(carol), Servers: []string{"up"}, Expires: soon.Format(time.RFC3339Nano)}}))
	g.handler.Recheck()
	ended := make(chan struct{})
	go func() { io.Copy(io.Discard, r); close(ended) }() //nolint:errcheck // the end counts, not how
	select {
	case <-ended:
		if time.Now().Before(soon) {
			t.Error("it ended before its key")
		}
	case <-time.After(20 * time.Second):
		t.Error("it outlived its key")
	}
}
