package request_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s)) //nolint:errcheck // into memory
	z.Close()
	return b.String()
}

// chunked is a reader whose length net/http can't know.
type chunked struct{ io.Reader }

func TestBodiesInEveryCoding(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.limits = &configv1.Limits{Body: "64KiB"}
	g := start(t, s)
	padded := func(n int) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"` + strings.Repeat("a", n) + `"}}`
	}
	exact := padded(64<<10 - len(padded(0)))
	for _, c := range []struct {
		name   string
		body   string
		coding string
		status int
		phase  string
	}{
		{"plain", list, "", 200, ""},
		{"identity", list, "identity", 200, ""},
		{"gzip", zipped(list), "gzip", 200, ""},
		{"gzip in capitals", zipped(list), "GZIP", 200, ""},
		{"as large as allowed", exact, "", 200, ""},
		{"as large as allowed, gzip", zipped(exact), "gzip", 200, ""},
		{"a byte too large", exact + " ", "", 413, "limit"},
		{"a byte too large, gzip", zipped(exact + " "), "gzip", 413, "limit"},
		{"a bomb", zipped(padded(8 << 20)), "gzip", 413, "limit"},
		{"not gzip", list, "gzip", 400, "request"},
		{"gzip cut short", zipped(exact)[:100], "gzip", 400, "request"},
		{"gzip with rubbish behind", zipped(list) + "rubbish!!!", "gzip", 400, "request"},
		{"another coding", list, "br", 415, "request"},
		{"two codings", list, "gzip, gzip", 415, "request"},
		{"empty", "", "", 400, "request"},
		{"nested too deeply", strings.Repeat("[", 200) + strings.Repeat("]", 200), "", 400, "request"},
		{"a batch", "[" + list + "]", "", 400, "request"},
		{"two messages", list + list, "", 400, "request"},
		{"a name twice", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, "", 400, "request"},
	} {
		for _, unknown := range []bool{false, true} {
			var body io.Reader = strings.NewReader(c.body)
			if unknown {
				body = chunked{body}
			}
			req, err := http.NewRequest(http.MethodPost, g.url+"/up/mcp", body)
			fatal(t, err)
			for k, v := range map[string]string{"Content-Type": "application/json", "X-Litellm-Api-Key": alice, "Mcp-Protocol-Version": "2025-11-25", "Content-Encoding": c.coding} {
				req.Header.Set(k, v)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Errorf("%s (unknown length %v): %v", c.name, unknown, err)
				continue
			}
			got, _ := io.ReadAll(res.Body) //nolint:errcheck // what came is what counts
			res.Body.Close()
			if res.StatusCode != c.status || c.phase != "" && !strings.Contains(string(got), `"phase":"`+c.phase+`"`) {
				t.Errorf("%s (unknown length %v): %d %.300s", c.name, unknown, res.StatusCode, got)
			}
		}
	}
	for _, s := range up.Seen() {
		if s.Header.Get("Content-Encoding") != "" || !bytes.HasPrefix(s.Body, []byte("{")) {
			t.Errorf("the upstream got %v %.50q", s.Header, s.Body)
		}
	}
}

// Many large bodies at once are more than the gateway holds; small ones go through all the same.
func TestHeldBytesAreBounded(t *testing.T) {
	begun, release := make(chan struct{}, 8), make(chan struct{})
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		if m.Method == "tools/call" {
			begun <- struct{}{}
			<-release
		}
		mcptest.Result(w, m, "{}")
	}))
	s := one(up.URL)
	s.held = 1 << 20
	g := start(t, s)
	large := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":"` + strings.Repeat("a", 400<<10) + `"}}`
	done := make(chan int)
	go func() { done <- g.send(t, http.MethodPost, "/up/mcp", large, legacy...).status }()
	<-begun
	a := g.send(t, http.MethodPost, "/up/mcp", large, legacy...)
	if a.status != 503 || !strings.HasPrefix(a.header.Get("X-Hopgate-Error"), "hop=gateway; phase=limit; kind=unavailable") {
		t.Errorf("a second large one: %d %s", a.status, a.body)
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", list, legacy...); a.status != 200 {
		t.Errorf("a small one: %d %s", a.status, a.body)
	}
	close(release)
	if got := <-done; got != 200 {
		t.Errorf("the first: %d", got)
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", large, legacy...); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// dial opens a connection for talk that http.Client wouldn't make.
func (g *gateway) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.listener.Addr().String())
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func head(method, path, key string, more ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMcp-Protocol-Version: 2025-11-25\r\nX-Litellm-Api-Key: %s\r\n%s\r\n",
		method, path, key, strings.Join(append(more, ""), "\r\n"))
}

// A body that trickles in doesn't hold a connection for longer than its time limit, whether or not the request is admitted.
func TestSlowBodiesEnd(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.listen = listen.Config{BodyTimeout: 200 * time.Millisecond}
	g := start(t, s)
	for key, status := range map[string]int{alice: 408, "sk-unknown-key-000000": 401} {
		c, began := g.dial(t), time.Now()
		fmt.Fprint(c, head("POST", "/up/mcp", key, "Content-Length: 1000"), `{"jsonrpc"`)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		body, _ := io.ReadAll(res.Body) //nolint:errcheck // what came is what counts
		res.Body.Close()
		if res.StatusCode != status || !res.Close || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %d after %v, closing %v: %s", key, res.StatusCode, time.Since(began), res.Close, body)
		}
	}
}

// The time limit of a body ends with the body: a call may take longer.
func TestSlowAnswersDontMeetTheBodysLimit(t *testing.T) {
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, wait := mcptest.Read(r), time.NewTimer(500*time.Millisecond)
		<-wait.C
		mcptest.Result(w, m, "{}")
	}))
	s := one(up.URL)
	s.listen = listen.Config{BodyTimeout: 400 * time.Millisecond, WriteTimeout: 400 * time.Millisecond}
	g := start(t, s)
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2c(t)} {
		for kind, body := range map[string]io.Reader{"of known length": strings.NewReader(list), "of unknown length": chunked{strings.NewReader(list)}} {
			req, err := http.NewRequest(http.MethodPost, g.url+"/up/mcp", body)
			fatal(t, err)
			req.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {alice}, "Mcp-Protocol-Version": {"2025-11-25"}}
			res, err := client.Do(req)
			fatal(t, err)
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK || err != nil || !strings.Contains(string(got), `"result"`) {
				t.Errorf("%s, %s: %d %s %v", name, kind, res.StatusCode, got, err)
			}
		}
	}
}

// Expect: 100-continue is answered when the body is wanted, and not when the request is refused by its head.
func TestExpectedContinue(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	s := one(up.URL)
	s.listen = listen.Config{WriteTimeout: 200 * time.Millisecond}
	g := start(t, s)
	c := g.dial(t)
	r := bufio.NewReader(c)
	for range 2 { // the second time on a connection whose last answer is older than the write limit: net/http lifts that
		fmt.Fprint(c, head("POST", "/up/mcp", alice, "Expect: 100-continue", fmt.Sprintf("Content-Length: %d", len(list))))
		if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q %v", line, err)
		}
		r.ReadString('\n') //nolint:errcheck // the blank line
		fmt.Fprint(c, list)
		res, err := http.ReadResponse(r, nil)
		fatal(t, err)
		io.Copy(io.Discard, res.Body) //nolint:errcheck // read to its end
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		<-time.NewTimer(250 * time.Millisecond).C
	}
	c = g.dial(t)
	fmt.Fprint(c, head("POST", "/up/mcp", "sk-unknown-key-000000", "Expect: 100-continue", "Content-Length: 5000000"))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("%q %v", line, err)
	}
}

// The request target may be in absolute form, and headers may be as large as the limit.
func TestUnusualHeads(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	for name, c := range map[string]struct {
		raw    string
		status string
	}{
		"absolute form":    {strings.Replace(head("POST", "http://localhost/up/mcp", alice, fmt.Sprintf("Content-Length: %d", len(list))), "\r\n\r\n", "\r\n\r\n"+list, 1), "200"},
		"absolute, evil":   {head("POST", "http://evil.example/up/mcp", alice, "Content-Length: 0"), "403"},
		"asterisk":         {head("OPTIONS", "*", alice), "404"},
		"HTTP/1.0":         {"POST /up/mcp HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Litellm-Api-Key: " + alice + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", len(list)) + list, "200"},
		"no host":          {"GET /up/mcp HTTP/1.0\r\n\r\n", "403"},
		"two credentials":  {head("POST", "/up/mcp", alice, "X-Litellm-Api-Key: "+alice, "Content-Length: 0"), "401"},
		"two origins":      {head("POST", "/up/mcp", alice, "Origin: http://localhost", "Origin: http://localhost", "Content-Length: 0"), "403"},
		"two versions":     {head("POST", "/up/mcp", alice, "Mcp-Protocol-Version: 2025-11-25", fmt.Sprintf("Content-Length: %d", len(list))) + list, "400"},
		"long header":      {head("GET", "/healthz", alice, "X-Long: "+strings.Repeat("x", 30<<10)), "200"},
		"too long header":  {head("GET", "/healthz", alice, "X-Long: "+strings.Repeat("x", 60<<10)), "431"},
		"smuggled length":  {head("POST", "/up/mcp", alice, "Content-Length: 5", "Content-Length: 6"), "400"},
		"length and chunk": {head("POST", "/up/mcp", alice, "Content-Length: 5", "Transfer-Encoding: chunked, chunked"), "501"},
	} {
		conn := g.dial(t)
		fmt.Fprint(conn, c.raw)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, " "+c.status+" ") {
			t.Errorf("%s: %q %v", name, line, err)
		}
	}
}
