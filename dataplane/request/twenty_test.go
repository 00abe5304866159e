package request_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Of twenty servers, five fail, each in a way of its own.
const (
	stuck    = "stuck"    // sends a head, then nothing
	refusing = "refusing" // nothing listens
	garbled  = "garbled"  // answers with what isn't JSON
	mute     = "mute"     // takes the request and never answers
	dripping = "dripping" // a byte a second
)

// listWithin is what each server has for its part; patience is what a list of all may take on a busy machine. It is less than those
// that run out of time would take one after the other.
const (
	listWithin = 2 * time.Second
	patience   = 5 * time.Second
)

// weather is a server that works, or fails in one way.
type weather struct {
	fine http.Handler
	bad  atomic.Pointer[http.Handler] // nil: it works
}

func (w *weather) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if bad := w.bad.Load(); bad != nil {
		mcptest.Peek(r) // an unread body would hide that the gateway leaves
		(*bad).ServeHTTP(rw, r)
		return
	}
	w.fine.ServeHTTP(rw, r)
}

// heads sends a head and then nothing.
func heads() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		<-r.Context().Done()
	})
}

// drips sends a proper answer, a byte a second.
func drips(contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		text := mcptest.Answer(mcptest.Read(r), `{"tools":[]}`)
		if contentType == "text/event-stream" {
			text = "data: " + text + "\n\n"
		}
		drop := time.NewTicker(time.Second)
		defer drop.Stop()
		for i := range text {
			w.Write([]byte{text[i]}) //nolint:errcheck // the gateway leaves
			w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
			select {
			case <-drop.C:
			case <-r.Context().Done():
				return
			}
		}
	})
}

// twenty is a gateway in front of fifteen servers that work and five that can fail.
type twenty struct {
	g      *gateway
	modern bool
	drip   string              // media type of the dripping one
	sites  map[string]*weather // but for the refusing one
	refuse string              // address of the refusing one
	back   *httptest.Server    // on that address, once it works
}

func startTwenty(t *testing.T, modern bool, drip string) *twenty {
	w := &twenty{modern: modern, drip: drip, sites: map[string]*weather{}}
	s := settings{servers: map[string]*configv1.ServerSpec{}}
	for i := range 15 {
		name := fmt.Sprintf("fine_%02d", i)
		s.servers[name] = w.site(t, name, i)
	}
	for i, name := range []string{stuck, garbled, mute, dripping} {
		s.servers[name] = w.site(t, name, i)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.20.0.1:0")
	fatal(t, err)
	w.refuse = l.Addr().String()
	fatal(t, l.Close())
	s.servers[refusing] = w.spec("http://" + w.refuse + "/mcp")
	w.g = start(t, s)
	return w
}

func (w *twenty) spec(url string) *configv1.ServerSpec {
	s := server(url)
	s.Timeouts = &configv1.Timeouts{List: listWithin.String()}
	s.Resilience = &configv1.Resilience{BreakerFailures: 5, BreakerOpen: "1s"}
	return s
}

// site starts one server, of the sorts that there are in turn.
func (w *twenty) site(t *testing.T, name string, i int) *configv1.ServerSpec {
	at := &weather{fine: w.kind(name, i)}
	w.sites[name] = at
	return w.spec(mcptest.Start(t, at).URL)
}

// kind has the tools "one" and "two", and answers calls with its name.
func (w *twenty) kind(name string, i int) http.Handler {
	tools := []string{`{"name":"two","inputSchema":{"type":"object"}}`, `{"name":"one","inputSchema":{"type":"object"}}`}
	if w.modern {
		do := func(mcptest.Message) string { return `"resultType":"complete","content":[],"by":"` + name + `"` }
		return &mcptest.RichModern{TTL: 60_000, Tools: tools, Do: map[string]func(mcptest.Message) string{"one": do}}
	}
	do := func(c *mcptest.Call) { c.Answer(`{"content":[],"by":"` + name + `"}`) }
	return &mcptest.Rich{Sessionless: i%3 == 1, Streams: i%3 == 2, Mute: true, Tools: tools, PageSize: 1 + i%2, Do: map[string]func(*mcptest.Call){"one": do}}
}

// storm has the five fail.
func (w *twenty) storm() {
	for name, bad := range map[string]http.Handler{stuck: heads(), garbled: mcptest.Status(200, "application/json", "{{{ no JSON }"), mute: mcptest.Silent(), dripping: drips(w.drip)} {
		w.sites[name].bad.Store(&bad)
	}
}

// clear has all twenty work.
func (w *twenty) clear(t *testing.T) {
	for _, site := range w.sites {
		site.bad.Store(nil)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", w.refuse)
	fatal(t, err)
	w.back = &httptest.Server{Listener: l, Config: &http.Server{Handler: w.kind(refusing, 0)}}
	w.back.Start()
	t.Cleanup(func() { w.back.CloseClientConnections(); w.back.Close() })
}

// ask sends a request to the aggregate in the era of this one.
func (w *twenty) ask(t testing.TB, session, method, name string, more ...string) answer {
	params := ""
	if name != "" {
		params = fmt.Sprintf(`"name":%q`, name)
	}
	if w.modern {
		return w.g.send(t, http.MethodPost, "/mcp", modernCall(method, params), modernHeads(method, name, more...)...)
	}
	return w.g.send(t, http.MethodPost, "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params),
		append([]string{"Mcp-Session-Id", session, "Mcp-Protocol-Version", "2025-06-18", "Accept", "application/json, text/event-stream"}, more...)...)
}

// join begins a session, where the era has them.
func (w *twenty) join(t *testing.T) string {
	if w.modern {
		return ""
	}
	return w.g.join(t, "/mcp")
}

// report is a list of all servers: what is listed of each, what came of each, and how long it took.
type report struct {
	tools    map[string][]string
	outcomes map[string]string
	took     time.Duration
}

func (w *twenty) list(t *testing.T, session string, more ...string) report {
	t.Helper()
	began := time.Now()
	a := w.ask(t, session, "tools/list", "", more...)
	r := report{tools: map[string][]string{}, outcomes: map[string]string{}, took: time.Since(began)}
	var m struct {
		Result struct {
			Meta map[string]map[string]struct{ Status, Error string } `json:"_meta"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != 200 {
		t.Fatalf("%d %v %s", a.status, err, a.body)
	}
	for _, name := range toolNames(t, a.body) {
		server, tool, _ := strings.Cut(name, "-")
		r.tools[server] = append(r.tools[server], tool)
	}
	for server, o := range m.Result.Meta["hopgate.dev/outcomes"] {
		if r.outcomes[server] = o.Status; (o.Status == "ok") != (o.Error == "") {
			t.Errorf("%s is %s: %q", server, o.Status, o.Error)
		}
	}
	if !maps.EqualFunc(m.Result.Meta["hopgate.dev/outcomes"], m.Result.Meta["litellm.ai/server_outcomes"], func(a, b struct{ Status, Error string }) bool { return a == b }) {
		t.Error("the outcomes differ by the name under which they are told")
	}
	return r
}

// check compares the report with how the five are; where there are two words, either will do. The fifteen and those that are "ok" are listed
// with both tools.
func (r *report) check(t *testing.T, five map[string]string) {
	t.Helper()
	if len(r.outcomes) != 20 {
		t.Errorf("%d outcomes: %v", len(r.outcomes), r.outcomes)
	}
	for server, status := range r.outcomes {
		want := "ok"
		if word, bad := five[server]; bad {
			want = word
		}
		listed := slices.Equal(r.tools[server], []string{"one", "two"})
		if !slices.Contains(strings.Fields(want), status) || listed != (want == "ok") || !listed && len(r.tools[server]) > 0 {
			t.Errorf("%s is %s, want %s, and lists %q", server, status, want, r.tools[server])
		}
	}
	if r.took > patience {
		t.Errorf("the list took %v", r.took)
	}
}

// calls makes calls to the fifteen until it is stopped; stop returns how many there were.
func (w *twenty) calls(t *testing.T, session string) (stop func() int) {
	var n atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	for c := range 3 {
		wg.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for i := c; !over.Load(); i++ {
				<-pace.C
				name := fmt.Sprintf("fine_%02d", i%15)
				if a := w.ask(t, session, "tools/call", name+"-one"); a.status != 200 || !strings.Contains(a.body, `"by":"`+name+`"`) {
					t.Errorf("%s: %d %s", name, a.status, a.body)
					return
				}
				n.Add(1)
			}
		})
	}
	return func() int { over.Store(true); wg.Wait(); return int(n.Load()) }
}

// Of twenty servers one hangs after its head, one refuses, one answers garbage, one never answers, and one drips. The list is there within the
// deadline with the tools of the fifteen, and says of each of the five what is wrong; calls to the fifteen go on; servers that can't be
// reached aren't asked for a while; and when the five work again, they are there again.
func TestFiveOfTwentyServersHurtNobody(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("storms", storms)
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

func storms(t *testing.T) {
	for _, c := range []struct {
		name   string
		modern bool
		drip   string
	}{
		{"sessions, dripping events", false, "text/event-stream"}, {"2026-07-28, dripping JSON", true, "application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			startTwenty(t, c.modern, c.drip).weatherIt(t)
		})
	}
}

func (w *twenty) weatherIt(t *testing.T) {
	early := w.join(t) // holds a session of each but the refusing one
	w.storm()
	began := time.Now()
	late := w.join(t) // holds those of the fifteen
	if took := time.Since(began); took > patience {
		t.Errorf("initialize took %v", took)
	}
	stop := w.calls(t, early)
	five := map[string]string{stuck: "timeout", refusing: "unreachable", garbled: "misconfigured", mute: "timeout", dripping: "timeout"}
	first := w.list(t, early)
	first.check(t, five)
	five[refusing] = "unreachable circuit_open"
	second := w.list(t, late)
	second.check(t, five)
	w.breakers(t, late) // by handshakes alone
	if n := stop(); n == 0 {
		t.Error("no calls were made meanwhile")
	}
	w.clear(t)
	w.recover(t, early)
	w.recover(t, late)
}

// breakers waits until those that can't be reached aren't asked any more. Then they cost nothing.
func (w *twenty) breakers(t *testing.T, session string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		r := w.list(t, session, "X-Mcp-Servers", "fine_00,fine_01,refusing,mute")
		if r.outcomes[refusing] != "circuit_open" || r.outcomes[mute] != "circuit_open" {
			continue // now and then one is asked again
		}
		if r.took > listWithin/2 || len(r.tools) != 2 || len(r.outcomes) != 4 {
			t.Errorf("with open breakers the list took %v, and has %v", r.took, r.tools)
		}
		return
	}
	t.Error("no breaker opens")
}

// recover waits until all twenty are listed, and calls each of the five.
func (w *twenty) recover(t *testing.T, session string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := w.list(t, session)
		if len(r.tools) == 20 {
			r.check(t, nil)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all come back: %v", r.outcomes)
		}
	}
	for _, name := range []string{stuck, refusing, garbled, mute, dripping} {
		if a := w.ask(t, session, "tools/call", name+"-one"); a.status != 200 || !strings.Contains(a.body, `"by":"`+name+`"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
