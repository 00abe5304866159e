package request_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	exposed "github.com/hopgate/hopgate/proto/names"
)

// choosy honours what it says, whatever is asked, when it may.
func choosy(may <-chan struct{}, honours string, more ...string) http.Handler {
	modern := &mcptest.RichModern{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mcptest.Peek(r).Method != "subscriptions/listen" {
			modern.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() //nolint:errcheck // a test
		select {
		case <-may:
		case <-r.Context().Done():
			return
		}
		mark := `"_meta":{"io.modelcontextprotocol/subscriptionId":1}`
		mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{`+honours+mark+`}}`)
		for _, m := range more {
			mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"`+m+`","params":{"level":"info","data":"x",`+mark+`}}`)
		}
		<-r.Context().Done()
	})
}

func (g *gateway) subscribe(t testing.TB, notifications string) *bufio.Reader {
	t.Helper()
	stream := g.open(t, "POST", "/mcp", modernly("subscriptions/listen", `"notifications":`+notifications),
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen", "Accept", "application/json, text/event-stream")
	t.Cleanup(func() { stream.Body.Close() })
	if stream.StatusCode != http.StatusOK {
		t.Fatal(stream.Status)
	}
	return bufio.NewReader(stream.Body)
}

// What is acknowledged is what the servers themselves have acknowledged, of what they were asked; what one says before another has answered
// comes behind it, in order.
func TestTheAcknowledgementIsTheServersOwn(t *testing.T) {
	at, may := make(chan struct{}), make(chan struct{})
	close(at)
	early := mcptest.Start(t, choosy(at, `"notifications":{"promptsListChanged":true,"resourcesListChanged":true},`,
		"notifications/message", "notifications/other"))
	late := mcptest.Start(t, choosy(may, `"notifications":{"resourceSubscriptions":["x://a","x://never"]},`))
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"early": server(early.URL), "late": server(late.URL), "down": server("http://127.0.0.1:1")}})
	a, b := exposed.WrapURI("late", "x://a"), exposed.WrapURI("late", "x://b")
	events := g.subscribe(t, `{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["`+a+`","`+b+`"]}`)
	late.Await(t, "listen", holds("subscriptions/listen"))
	early.Await(t, "listen", holds("subscriptions/listen"))
	close(may)
	got := nextData(t, events)
	honoured := `{"promptsListChanged":true,"resourceSubscriptions":["` + a + `"]}`
	if text(field(got, "method")) != "notifications/subscriptions/acknowledged" || field(got, "params", "notifications") != honoured {
		t.Errorf("%s", got)
	}
	for _, want := range []string{"notifications/message", "notifications/other"} {
		if got := nextData(t, events); text(field(got, "method")) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A server that doesn't acknowledge within its time delays nobody for longer.
func TestTheAcknowledgementWaitsForNobodyForever(t *testing.T) {
	at := make(chan struct{})
	close(at)
	good, mute := mcptest.Start(t, choosy(at, `"notifications":{"toolsListChanged":true},`)), mcptest.Start(t, choosy(nil, ""))
	s := settings{servers: map[string]*configv1.ServerSpec{"good": server(good.URL), "mute": server(mute.URL)}}
	s.servers["mute"].Timeouts = &configv1.Timeouts{List: "300ms"}
	got := nextData(t, start(t, s).subscribe(t, `{"toolsListChanged":true,"promptsListChanged":true}`))
	if !strings.Contains(got, "acknowledged") || field(got, "params", "notifications") != `{"toolsListChanged":true}` {
		t.Errorf("%s", got)
	}
}

// That a server's stream broke is between it and the gateway: the caller sees what was said, and that it has to look again.
func TestABreakIsNoEvent(t *testing.T) {
	modern, broke := &mcptest.RichModern{}, make(chan struct{}, 1)
	broke <- struct{}{}
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mcptest.Peek(r).Method == "subscriptions/listen" {
			select {
			case <-broke:
				w.Header().Set("Content-Type", "text/event-stream")
				mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true}}}`)
				panic(http.ErrAbortHandler)
			default:
			}
		}
		modern.ServeHTTP(w, r)
	}))
	events := start(t, one(up.URL)).subscribe(t, `{"toolsListChanged":true}`)
	var all strings.Builder
	for !strings.Contains(all.String(), "list_changed") {
		line, err := events.ReadString('\n')
		fatal(t, err)
		all.WriteString(line)
	}
	if strings.Contains(all.String(), "failed") {
		t.Error(all.String())
	}
}
