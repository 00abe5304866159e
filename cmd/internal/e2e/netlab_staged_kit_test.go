//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// stagedRegions are the steps of the staged changes, in order.
var stagedRegions = []string{"eu", "us", "ap"}

// regional is a home with three regions, all 80 ms apart, of which each has two data planes that call a server of their own region, and a Jaeger.
// Data planes call the server with what the config says is its edition, which the server answers with: a call shows what is in force.
type regional struct {
	*world
	home    *control
	relays  map[string]*control // by region; empty: data planes follow home
	proxies map[string][]*proxy // by region
	traces  jaeger
	urls    map[string]string // of the region's server
	key     string
	bake    time.Duration // of each step
}

func startRegional(t *testing.T, relayed bool) *regional {
	t.Helper()
	s := &regional{world: startWorld(t, regionsApart, append([]string{"home"}, stagedRegions...)...),
		relays: map[string]*control{}, proxies: map[string][]*proxy{}, urls: map[string]string{}}
	s.traces = s.jaeger(t, "home")
	s.env = s.traces.env()
	s.home = s.control(t, "home", "home")
	for _, region := range stagedRegions {
		upstream := s.home
		if relayed {
			upstream = s.relay(t, region, "relay-"+region, s.home)
			s.relays[region] = upstream
		}
		for i := range 2 {
			s.proxies[region] = append(s.proxies[region], s.proxy(t, region, fmt.Sprintf("%s-%d", region, i+1), upstream))
		}
		s.urls[region] = s.edition(t, region)
	}
	s.home.apply(t, s.document("old"))
	s.key = s.home.key(t, "caller", "*")
	s.bake = s.home.unhurried(t, stagedBake)
	for _, p := range s.all() {
		eventually(t, 20*time.Second, p.Name+" serves the old edition", func() error { return s.serves(p, "old") })
	}
	return s
}

// jaeger starts a Jaeger in a site: programs in any site reach it on the address of its own, the test on a forwarded one.
func (w *world) jaeger(t *testing.T, site string) jaeger {
	t.Helper()
	host, file := ownHost(), filepath.Join(t.TempDir(), "jaeger.yaml")
	config := strings.NewReplacer("HOST:431", w.lab.Site(site).Addr()+":431", "HOST", host).Replace(jaegerConfig)
	ok(t, os.WriteFile(file, []byte(config), 0o600))
	w.forward(t, site, host, 13133, 16686)
	r := w.start(t, site, program{Name: "jaeger", Args: []string{tool(t, "E2E_JAEGER", "jaeger"), "--config", file},
		Env: []string{"OTEL_TRACES_SAMPLER=always_off"}})
	eventually(t, 30*time.Second, "Jaeger is ready", func() error {
		if !r.alive() {
			t.Fatalf("jaeger ended: %v\n%s", r.state, tail(r.output(), 30))
		}
		return okay("http://" + host + ":13133/status")
	})
	return jaeger{otlp: "http://" + w.lab.Site(site).Addr() + ":4317", query: "http://" + host + ":16686"}
}

// edition serves, inside a site, an MCP server whose every answer is the edition that it is called with; its URL is good within the site.
func (w *world) edition(t *testing.T, site string) (url string) {
	t.Helper()
	l, err := w.lab.Site(site).Listen(t.Context(), "127.0.0.1:0")
	ok(t, err)
	said := mcp.NewServer(&mcp.Implementation{Name: "edition", Version: "1"}, nil)
	mcp.AddTool(said, &mcp.Tool{Name: "edition"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Edition: " + r.Extra.Header.Get("X-Edition")}}}, nil, nil
	})
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return said },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l) //nolint:errcheck // it ends when it is closed
	}()
	t.Cleanup(func() {
		server.Close() //nolint:errcheck // the test is over
		<-served
	})
	return "http://" + l.Addr().String() + "/mcp"
}

func (s *regional) all() (out []*proxy) {
	for _, region := range stagedRegions {
		out = append(out, s.proxies[region]...)
	}
	return out
}

// document is the server that is changed.
func (s *regional) document(edition string) string {
	endpoints := []string{}
	for _, region := range stagedRegions {
		endpoints = append(endpoints, fmt.Sprintf("{url: %q, regions: [%s]}", s.urls[region], region))
	}
	return fmt.Sprintf("kind: Server\nname: edition\nspec:\n  endpoints: [%s]\n  headers: [{name: X-Edition, text: %s}]\n", strings.Join(endpoints, ", "), edition)
}

var editionText = regexp.MustCompile(`Edition: (\w+)`)

// served is the edition that a data plane answers a call with.
func (s *regional) served(p *proxy) (string, error) {
	a, err := post(p.url("edition"), s.key, toolCall("edition", map[string]any{}))
	if err != nil {
		return "", err
	}
	m := editionText.FindStringSubmatch(a.Body)
	if a.Status != http.StatusOK || m == nil {
		return "", fmt.Errorf("status %d, %s: %s", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body)
	}
	return m[1], nil
}

func (s *regional) serves(p *proxy, want string) error {
	got, err := s.served(p)
	if err == nil && got != want {
		err = fmt.Errorf("it serves %s, want %s", got, want)
	}
	return err
}

// turn is when a data plane was first seen to serve an edition, other than the one it served before. The one before was served later than since:
// the turn itself was at some time between.
type turn struct {
	edition   string
	since, at time.Time
}

// watchEditions calls all data planes every 25 ms. The function that it returns gives the turns by data plane and ends that.
func (s *regional) watchEditions(t *testing.T) func() map[string][]turn {
	t.Helper()
	var mu sync.Mutex
	var callers sync.WaitGroup
	turns, stop := map[string][]turn{}, make(chan struct{})
	for _, p := range s.all() {
		callers.Go(func() {
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			var since time.Time
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				asked := time.Now()
				got, err := s.served(p)
				if err != nil {
					got = "failed: " + err.Error()
				}
				mu.Lock()
				if seen := turns[p.Name]; len(seen) == 0 || seen[len(seen)-1].edition != got {
					turns[p.Name] = append(seen, turn{got, since, time.Now()})
				}
				mu.Unlock()
				since = asked
			}
		})
	}
	end := sync.OnceFunc(func() {
		close(stop)
		callers.Wait()
	})
	t.Cleanup(end)
	return func() map[string][]turn { end(); return turns }
}

// editions are what was served, in order.
func editions(turns []turn) string {
	out := []string{}
	for _, x := range turns {
		out = append(out, x.edition)
	}
	return strings.Join(out, " ")
}

// stage begins a staged change to an edition, as operators do.
func (s *regional) stage(t *testing.T, edition string) (change string) {
	t.Helper()
	res := s.home.command(t, s.document(edition), nil, "apply", "-f", "-", "--strategy", "regions", "--steps", strings.Join(stagedRegions, ","),
		"--bake", s.bake.String())
	id := regexp.MustCompile(`change (\w+)`).FindStringSubmatch(res.Out)
	if res.Code != 0 || id == nil {
		t.Fatalf("apply: %v", res)
	}
	return id[1]
}

func (s *regional) rollout(t *testing.T, change string) *adminv1.Rollout {
	t.Helper()
	r, err := s.home.client(t).GetRollout(t.Context(), &adminv1.GetRolloutRequest{Change: change})
	ok(t, err)
	return r
}

// until waits until the rollout is where it is to be.
func (s *regional) until(t *testing.T, change, what string, is func(*adminv1.Rollout) bool) *adminv1.Rollout {
	t.Helper()
	var r *adminv1.Rollout
	eventually(t, 30*time.Second, change+" is "+what, func() error {
		if r = s.rollout(t, change); !is(r) {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	return r
}

func (s *regional) inState(t *testing.T, change, state string) *adminv1.Rollout {
	t.Helper()
	return s.until(t, change, state, func(r *adminv1.Rollout) bool { return r.GetState() == state })
}

// status is what hopgate rollout status shows.
func (s *regional) status(t *testing.T, change string, flags ...string) string {
	t.Helper()
	res := s.home.command(t, "", nil, append([]string{"rollout", "status", change}, flags...)...)
	if res.Code != 0 {
		t.Fatalf("rollout status: %v", res)
	}
	return res.Out
}

// drawTimed shows the spans as an indented tree, each with when it began after the first and how long it took.
func drawTimed(spans []span, parent string, began int64, depth int) string {
	var b strings.Builder
	level := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return int(a.StartTime - b.StartTime) })
	if began == 0 && len(level) > 0 {
		began = level[0].StartTime
	}
	for _, s := range level {
		if childOf(spans, s, parent) {
			at, took := float64(s.StartTime-began)/1000, float64(s.Duration)/1000
			fmt.Fprintf(&b, "%9.1f ms %8.1f ms  %s%s [%s]\n", at, took, strings.Repeat("   ", depth), s.OperationName, s.service)
			b.WriteString(drawTimed(spans, s.SpanID, began, depth+1))
		}
	}
	return b.String()
}
