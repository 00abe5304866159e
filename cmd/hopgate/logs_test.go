package main

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// job is one command that runs until it is stopped.
type job struct {
	out, trouble *paper
	stop         context.CancelFunc
	done         chan int
}

func begin(t *testing.T, args ...string) *job {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &job{out: &paper{}, trouble: &paper{}, stop: stop, done: make(chan int, 1)}
	go func() { p.done <- execute(ctx, args, strings.NewReader(""), p.out, p.trouble) }()
	t.Cleanup(stop)
	return p
}

// says waits for text in an output and returns its first group.
func (p *job) says(t *testing.T, in *paper, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if found := re.FindStringSubmatch(in.String()); found != nil {
			return found[len(found)-1]
		}
		if time.Now().After(end) {
			t.Fatalf("it doesn't say %s:\n%s\n%s", pattern, p.out, p.trouble)
		}
	}
}

// end stops it and checks that it was well.
func (p *job) end(t *testing.T) {
	t.Helper()
	p.stop()
	select {
	case code := <-p.done:
		if code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.trouble)
		}
	case <-time.After(patience):
		t.Fatal("it doesn't end")
	}
}

func TestEveryProcessLogsJSONWhenAsked(t *testing.T) {
	dir := t.TempDir()
	up := begin(t, "up", "--demo", "--log-format", "json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "up"))
	url := up.says(t, up.out, `MCP on (\S+),`)
	control := begin(t, "control", "--log-format", "json", "--admin", "127.0.0.1:0", "--sync", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "control"))
	sync := control.says(t, control.trouble, `"sync":"([^"]+)"`)
	proxy := begin(t, "proxy", "--log-format", "json", "--control", sync, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state-dir", filepath.Join(dir, "proxy"), "--node", "n1", "--drain-delay", "0s")
	proxy.says(t, proxy.trouble, `"msg":"following control plane"`)
	get(t, "http://"+proxy.says(t, proxy.trouble, `"address":"([^"]+)"`)+"/nothing/mcp")
	get(t, url+"/nothing/mcp")
	proxy.end(t)
	control.end(t)
	up.end(t)
	for name, p := range map[string]*job{"up": up, "control": control, "proxy": proxy} {
		lines := strings.Split(strings.TrimSpace(p.trouble.String()), "\n")
		for _, line := range lines {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["msg"] == nil || entry["time"] == nil {
				t.Errorf("%s logs %q", name, line)
			}
		}
		if access := strings.Contains(p.trouble.String(), `"msg":"access"`); access != (name != "control") {
			t.Errorf("%s: access lines %t", name, access)
		}
		if keys.MatchString(p.trouble.String()) {
			t.Errorf("%s logs a key", name)
		}
	}
	if out := control.out.String() + proxy.out.String(); out != "" {
		t.Errorf("processes without a greeting print %q", out)
	}
}

func get(t *testing.T, url string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
