//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	hostileRequests = 1_000_000
	hostileWarmUp   = 100_000
	hostileCallers  = 4
	hostileSeed     = 20261123
)

// besieged is a data plane with everything that identity, grants and credentials can be made of, and nobody who was let in.
type besieged struct {
	*proxy
	control *control
	issuer  string       // it never answers
	reached atomic.Int64 // requests at upstreams and their token endpoint
}

func startBesieged(t *testing.T) *besieged {
	t.Helper()
	b := &besieged{control: startControl(t, "control", nil), issuer: "http://" + ownHost() + ":9"}
	l, err := net.Listen("tcp", ownHost()+":0")
	if err != nil {
		t.Fatal(err)
	}
	up := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.reached.Add(1) })}
	go up.Serve(l)                   //nolint:errcheck // ends with Close
	t.Cleanup(func() { up.Close() }) //nolint:errcheck // the test is over
	b.proxy = startProxy(t, "proxy", nil, []*control{b.control})
	at := "http://" + l.Addr().String()
	auths := map[string]string{
		"plain": "{}", "keyed": "{type: api_key, value: {secret: held}}", "bearer": "{type: bearer, value: {secret: held}}",
		"basic": "{type: basic, username: u, value: {secret: held}}", "literal": "{type: authorization, value: {secret: held}}", "passing": "{type: passthrough}",
		"machine":  "{type: oauth2, flow: client_credentials, client_id: c, value: {secret: held}, token_url: " + at + "/token}",
		"exchange": "{type: oauth2, flow: token_exchange, client_id: c, value: {secret: held}, token_url: " + at + "/token}",
		"inside":   "{}\n  reachable_from: internal", "ranged": "{}\n  allowed_cidrs: [10.0.0.0/8]",
	}
	yaml := "kind: Secret\nname: held\nspec: {value: held-0123456789abcdef}\n---\n" +
		"kind: IdentityProvider\nname: corp\nspec:\n  issuer: " + b.issuer + "\n  audiences: [\"http://gateway/*\"]\n  grants: [{servers: [\"*\"]}]\n---\n"
	for _, name := range hostileNames {
		yaml += fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [{url: %s/mcp}]\n  client_headers: [authorization, x-tenant]\n  forward_headers: [x-odd]\n  auth: %s\n---\n", name, at, auths[name])
	}
	b.control.apply(t, yaml+b.ingress("10.9.9.9"))
	b.control.key(t, "someone", "*", "--may-assert-end-user")
	return b
}

// ingress believes the proxies named.
func (b *besieged) ingress(trusted string) string {
	return "kind: Ingress\nname: front\nspec:\n  use_forwarded_headers: true\n  trusted_proxies: [" + trusted + "]\n  forwarded_headers: [x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, forwarded]\n" +
		"  cors_origins: [https://app.example.com]\n  public_origins: [https://mcp.example.com]\n"
}

// A million requests of strangers, most of them well-formed and each of them odd, change nothing: nobody gets in, nothing breaks, nothing is
// left behind.
func TestHostileMillionOpensNothingAndBreaksNothing(t *testing.T) {
	b := startBesieged(t)
	idle := b.metric(t, "go_goroutines")
	c := &tally{complaints: make(chan string, 20)}
	t.Logf("seed %d", hostileSeed)
	b.siege(t, c, 0, hostileWarmUp)
	warm := b.resident(t)
	began := time.Now()
	b.siege(t, c, 1, hostileRequests/2-hostileWarmUp)
	half := b.resident(t)
	b.control.apply(t, b.ingress("127.0.0.0/8")) // from now on the strangers' forwarding headers are believed
	b.siege(t, c, 2, hostileRequests/2)
	took, end := time.Since(began), b.resident(t)
	t.Logf("%d requests, %d of them well-formed, over %d connections; %.0f/s; resident %d KiB at %d, %d KiB at the half, %d KiB at the end", c.made.Load(), c.formed.Load(),
		c.connections.Load(), float64(hostileRequests-hostileWarmUp)/took.Seconds(), warm, hostileWarmUp, half, end)
	c.report(t)
	if c.made.Load() < hostileRequests || c.formed.Load() < hostileRequests*6/10 {
		t.Errorf("only %d requests were made, %d well-formed", c.made.Load(), c.formed.Load())
	}
	if n := b.reached.Load(); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
	if end > warm+max(warm/5, 30<<10) {
		t.Errorf("memory grew from %d to %d KiB", warm, end)
	}
	if !b.alive() {
		t.Fatalf("the data plane ended: %v", b.state)
	}
	eventually(t, shown, "connections and goroutines are gone", func() error {
		if now := b.metric(t, "go_goroutines"); now > idle+5 {
			return fmt.Errorf("%v goroutines, %v before", now, idle)
		}
		return nil
	})
	b.readLog(t)
}

// siege makes n requests by several strangers at once.
func (b *besieged) siege(t *testing.T, c *tally, part uint64, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range hostileCallers {
		s := newStranger(hostileSeed+part, uint64(i), b.Listen, b.issuer)
		from := ownHost()
		all.Go(func() { s.campaign(c, from, n/hostileCallers) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// report shows what came back and fails for every complaint.
func (c *tally) report(t *testing.T) {
	t.Helper()
	var told strings.Builder
	for status := range c.statuses {
		if n := c.statuses[status].Load(); n > 0 {
			fmt.Fprintf(&told, " %d: %d (%d without a fault);", status, n, c.bare[status].Load())
		}
	}
	t.Logf("answers:%s in other words %d, broken off %d, silent %d, closed before an answer %d", told.String(), c.other.Load(), c.cut.Load(), c.stuck.Load(), c.lost.Load())
	for {
		select {
		case what := <-c.complaints:
			t.Error(what)
		default:
			for _, status := range []int{200, 204, 400, 401, 403, 404, 405, 431, 503} {
				if c.statuses[status].Load() == 0 {
					t.Errorf("nobody was answered %d: the requests aren't what they should be", status)
				}
			}
			return
		}
	}
}

// metric reads one series of the data plane.
func (b *besieged) metric(t *testing.T, name string) float64 {
	t.Helper()
	res, err := quick.Get("http://" + b.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(body)
	if err != nil || m == nil {
		t.Fatalf("no %s among the metrics: %v", name, err)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// resident is the memory of the data plane's process in KiB.
func (b *besieged) resident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || m == nil {
		t.Fatalf("no resident memory: %v\n%s", err, status)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// readLog looks for defects and for what strangers sent.
func (b *besieged) readLog(t *testing.T) {
	t.Helper()
	f, err := os.Open(b.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	n, size, bad := 0, 0, 0
	for lines.Scan() {
		l := lines.Text()
		n, size = n+1, size+len(l)
		for _, word := range []string{"panic", "goroutine ", "request failed without a named cause", planted, "held-0123456789abcdef"} {
			if strings.Contains(l, word) && bad < 10 {
				bad++
				t.Errorf("the log says: %.2000s", l)
			}
		}
	}
	if err := lines.Err(); err != nil || n == 0 {
		t.Errorf("%d lines of log: %v", n, err)
	}
	t.Logf("%d lines of log, %d MiB", n, size>>20)
}
