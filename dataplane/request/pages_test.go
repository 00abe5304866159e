package request_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// paging answers what isn't a handshake as do says, with the result whose members are more.
func paging(do func(w http.ResponseWriter, r *http.Request, answer func(more string) string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		switch {
		case m.Method == "initialize":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, mcptest.Answer(m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"l","version":"1"}}`))
		case strings.HasPrefix(m.Method, "notifications/"):
			w.WriteHeader(http.StatusAccepted)
		default:
			do(w, r, func(more string) string {
				return mcptest.Answer(m, `{`+more+`"tools":[{"name":"one","inputSchema":{}}]}`)
			})
		}
	})
}

// pagedBy is a gateway in front of this server and one that works.
func pagedBy(t *testing.T, h http.Handler, more func(s *settings)) *gateway {
	fine := paging(func(w http.ResponseWriter, _ *http.Request, answer func(string) string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer(""))
	})
	s := settings{servers: map[string]*configv1.ServerSpec{"page": server(mcptest.Start(t, h).URL), "fine": server(mcptest.Start(t, fine).URL)}}
	if more != nil {
		more(&s)
	}
	return start(t, s)
}

// Red when a page is read as other answers are, up to the limit for events.
func TestAPageOfAListHasALimitOfItsOwn(t *testing.T) {
	filler := func(n int) string { return `"x":"` + strings.Repeat("x", n) + `",` }
	for _, kind := range []string{"application/json", "text/event-stream", "without a length"} {
		for n, want := range map[int]bool{4<<20 - 1000: true, 4<<20 + 1: false} {
			g := pagedBy(t, paging(func(w http.ResponseWriter, _ *http.Request, answer func(string) string) {
				text := answer(filler(n))
				if w.Header().Set("Content-Type", kind); kind == "text/event-stream" {
					text = "data: " + text + "\n\n"
				} else if w.Header().Set("Content-Type", "application/json"); kind == "without a length" {
					w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
				}
				fmt.Fprint(w, text)
			}), nil)
			a := g.send(t, http.MethodPost, "/mcp", list, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream")
			if got := strings.Contains(a.body, `"page-one"`); got != want || !strings.Contains(a.body, `"fine-one"`) {
				t.Errorf("%s of %d bytes: listed %v: %d %.600s", kind, n, got, a.status, a.body)
			}
			if !want && !strings.Contains(a.body, "hop=upstream; phase=body; kind=too_large") {
				t.Errorf("%s: %.600s", kind, a.body)
			}
		}
	}
}

// Events are told apart whatever ends their lines. Red when a CR and the LF behind it are two ends of lines, or the last event is lost.
func TestAPageIsFoundAmongEvents(t *testing.T) {
	for name, frame := range map[string]string{
		"LF": "data: %s\n\n", "CRLF": "event: message\r\ndata: %s\r\n\r\n", "CR": "data: %s\r\r",
		"byte order mark": "\ufeffdata: %s\n\n",
		"comments first": ": hello\n\n\n\nid: 1\ndata:\n\n: data\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n" +
			"data: %s\n\n",
		"no last line": "data: %s\n", "no line end": "data: %s",
	} {
		for _, drop := range []bool{false, true} {
			g := pagedBy(t, paging(func(w http.ResponseWriter, _ *http.Request, answer func(string) string) {
				w.Header().Set("Content-Type", "text/event-stream")
				text := fmt.Sprintf(frame, strings.ReplaceAll(answer(""), "\n", ""))
				if name == "CRLF" {
					text = strings.Replace(text, `"result"`, "\r\ndata: \"result\"", 1)
				}
				for i := 0; drop && i < len(text); i++ {
					fmt.Fprint(w, text[i:i+1])
					w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
				}
				if !drop {
					fmt.Fprint(w, text)
				}
			}), nil)
			a := g.send(t, http.MethodPost, "/mcp", list, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream")
			if !strings.Contains(a.body, `"page-one"`) {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
}

// Red without the catalogue's memory of servers that run out of time, and when a breaker is trusted that there isn't.
func TestAServerThatHangsBehindItsHeadCostsALittleOnce(t *testing.T) {
	for name, hang := range map[string]http.Handler{
		"behind its head": heads(), "dripping": drips("text/event-stream"),
		"without a head or a breaker": mcptest.Silent(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := pagedBy(t, hang, func(s *settings) {
				s.servers["page"].Timeouts = &configv1.Timeouts{List: "3s"}
				s.servers["page"].Resilience = &configv1.Resilience{BreakerFailures: -1}
			})
			quick := 0
			for range 5 {
				began := time.Now()
				a := g.send(t, http.MethodPost, "/mcp", list, "Mcp-Protocol-Version", "2025-11-25", "Accept", "application/json, text/event-stream")
				if !strings.Contains(a.body, `"page":{"status":"timeout"`) || !strings.Contains(a.body, `"fine-one"`) {
					t.Fatalf("%d %s", a.status, a.body)
				}
				if time.Since(began) < 1500*time.Millisecond {
					quick++
				}
			}
			if quick < 3 {
				t.Errorf("%d of 5 lists are there at once", quick)
			}
		})
	}
}
