package launch_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestDemoAnswersClientsOfBothEras(t *testing.T) {
	s := up(t, launch.Up{Demo: true})
	for _, revision := range []string{legacy, modern} {
		t.Run(revision, func(t *testing.T) {
			var progress atomic.Int32
			c := session(t, s.mcp, "demo", s.key, revision, &mcp.ClientOptions{ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress.Add(1) }})
			if got := c.InitializeResult().ProtocolVersion; got != revision {
				t.Fatalf("negotiated %s, want %s", got, revision)
			}
			if sessions := c.ID() != ""; sessions != (revision == legacy) {
				t.Errorf("session id %q in revision %s", c.ID(), revision)
			}
			if got, failed := call(t, c, "echo", map[string]any{"message": "hello"}); got != "Echo: hello" || failed {
				t.Errorf("echo answered %q, error %t", got, failed)
			}
			if got, failed := call(t, c, "add", map[string]any{"a": 2, "b": 3}); got != `{"sum":5}` || failed {
				t.Errorf("add answered %q, error %t", got, failed)
			}
			if got, failed := call(t, c, "fail", map[string]any{"message": "as asked"}); got != "as asked" || !failed {
				t.Errorf("fail answered %q, error %t", got, failed)
			}
			params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 0.05, "steps": 5}}
			params.SetProgressToken("p1")
			res, err := c.CallTool(t.Context(), params)
			if err != nil || res.IsError {
				t.Fatalf("slow: %v %+v", err, res)
			}
			until(t, "five notes of progress have come", func() bool { return progress.Load() == 5 })
		})
	}
}

// printedCurl takes the command of the greeting apart as a shell would.
var (
	printedURL    = regexp.MustCompile(`curl -si -X POST (\S+) `)
	printedHeader = regexp.MustCompile(`-H "([^:"]+): ([^"]+)"`)
	printedBody   = regexp.MustCompile(`-d '([^']+)'`)
)

func TestThePrintedCurlWorks(t *testing.T) {
	s := up(t, launch.Up{Demo: true})
	text := s.out.String()
	r, err := http.NewRequest(http.MethodPost, printedURL.FindStringSubmatch(text)[1], strings.NewReader(printedBody.FindStringSubmatch(text)[1]))
	if err != nil {
		t.Fatal(err)
	}
	headers := printedHeader.FindAllStringSubmatch(text[:strings.Index(text, "Claude Code")], -1)
	if len(headers) != 3 {
		t.Fatalf("found %d headers in\n%s", len(headers), text)
	}
	for _, h := range headers {
		r.Header.Set(h[1], h[2])
	}
	status, fault, body := do(t, r)
	if status != http.StatusOK || fault != "" || !strings.Contains(body, `"name":"slow"`) {
		t.Errorf("the curl got status %d, fault %q:\n%s", status, fault, body)
	}
	for _, want := range []string{"claude mcp add --transport http demo " + s.mcp + "/demo/mcp", "--cli " + s.mcp + "/demo/mcp", s.admin + "/openapi.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("the greeting lacks %q:\n%s", want, text)
		}
	}
}

func TestARestartKeepsKeysAndConfig(t *testing.T) {
	dir := t.TempDir()
	first := up(t, launch.Up{Demo: true, DataDir: dir})
	if n := strings.Count(first.out.String(), first.key); n != 1 {
		t.Errorf("the master key is shown %d times on first start, want once", n)
	}
	put(t, first, "mine", "http://127.0.0.1:9/mcp")
	if err := first.end(t); err != nil {
		t.Fatalf("first run: %v", err)
	}
	second := up(t, launch.Up{Demo: true, DataDir: dir})
	if second.key != first.key {
		t.Error("the master key changed")
	}
	if strings.Contains(second.out.String(), second.key) {
		t.Error("the master key is shown again")
	}
	if !strings.Contains(second.out.String(), filepath.Join(dir, "master.key")) {
		t.Errorf("the second greeting doesn't say where the master key is:\n%s", second.out)
	}
	old, now := demoKey(t, first), demoKey(t, second)
	if old != now {
		t.Error("the demo key changed")
	}
	if status, fault, body := tools(t, second.mcp, "demo", old); status != http.StatusOK {
		t.Errorf("the old demo key got %d %s %s", status, fault, body)
	}
	if _, fault, _ := tools(t, second.mcp, "mine", second.key); !strings.Contains(fault, "kind=refused") {
		t.Errorf("the server of the first run isn't served: fault %q", fault)
	}
	for _, s := range []*single{first, second} {
		for _, key := range []string{s.key, old} {
			if strings.Contains(s.log.String(), key) {
				t.Error("a key is in the log")
			}
		}
	}
	for _, name := range []string{"master.key", "demo.key", "kek"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", name, info, err)
		}
	}
}

func demoKey(t *testing.T, s *single) string {
	t.Helper()
	return regexp.MustCompile(`x-litellm-api-key: Bearer (sk-\S+)"`).FindStringSubmatch(s.out.String())[1]
}

func put(t *testing.T, s *single, name, url string) {
	t.Helper()
	change, err := s.client(t).CreateChange(t.Context(), &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{{Object: &adminv1.Object_Server{
		Server: &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, name+" is served", func() bool {
		c, err := s.client(t).GetChange(t.Context(), &adminv1.GetChangeRequest{Id: change.GetId()})
		return err == nil && c.GetDelivery().GetApplied() == 1
	})
}

func TestTheDemoGoesWhenItIsNotAskedFor(t *testing.T) {
	dir := t.TempDir()
	key := func() string {
		s := up(t, launch.Up{Demo: true, DataDir: dir})
		defer s.end(t) //nolint:errcheck // seen at the end of the test
		return demoKey(t, s)
	}()
	s := up(t, launch.Up{DataDir: dir})
	if status, fault, _ := tools(t, s.mcp, "demo", key); status != http.StatusUnauthorized || !strings.Contains(fault, "kind=unauthenticated") {
		t.Errorf("the demo key without a demo: %d %s", status, fault)
	}
	if status, fault, _ := tools(t, s.mcp, "demo", s.key); status != http.StatusNotFound {
		t.Errorf("the demo server without a demo: %d %s", status, fault)
	}
}

func TestTheDemoLeavesAnOperatorsOwnAlone(t *testing.T) {
	dir := t.TempDir()
	first := up(t, launch.Up{DataDir: dir})
	put(t, first, "demo", "http://127.0.0.1:9/mcp")
	if err := first.end(t); err != nil {
		t.Fatal(err)
	}
	_, m := bootUp(t, launch.Up{Demo: true, DataDir: dir})
	if err := m.wait(t); err == nil || !strings.Contains(err.Error(), "there is a server named demo that isn't the built-in one") {
		t.Errorf("ended with %v", err)
	}
	again := up(t, launch.Up{DataDir: dir})
	if _, fault, _ := tools(t, again.mcp, "demo", again.key); !strings.Contains(fault, "kind=refused") {
		t.Errorf("the operator's own server is gone: fault %q", fault)
	}
}

func TestCallersWithoutAKey(t *testing.T) {
	s := up(t, launch.Up{Demo: true, Anonymous: true})
	if status, fault, body := tools(t, s.mcp, "demo", ""); status != http.StatusOK {
		t.Errorf("anonymous: %d %s %s", status, fault, body)
	}
	r, err := http.NewRequest(http.MethodGet, s.admin+"/v1/servers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := do(t, r); status != http.StatusUnauthorized {
		t.Errorf("the admin API without a key: %d %s", status, body)
	}
	keyed := up(t, launch.Up{Demo: true})
	if status, _, _ := tools(t, keyed.mcp, "demo", ""); status != http.StatusUnauthorized {
		t.Errorf("without --anonymous: status %d, want 401", status)
	}
}

func TestACallInFlightOutlivesTheStop(t *testing.T) {
	for _, revision := range []string{legacy, modern} {
		t.Run(revision, func(t *testing.T) {
			s := up(t, launch.Up{Demo: true})
			begun := make(chan struct{}, 100)
			c := session(t, s.mcp, "demo", s.key, revision, &mcp.ClientOptions{ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { begun <- struct{}{} }})
			type answer struct {
				res *mcp.CallToolResult
				err error
			}
			answered := make(chan answer, 1)
			go func() {
				params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 0.6, "steps": 6}}
				params.SetProgressToken("p1")
				res, err := c.CallTool(context.Background(), params)
				answered <- answer{res, err}
			}()
			<-begun
			s.stop()
			if a := <-answered; a.err != nil || a.res.IsError {
				t.Errorf("the call in flight ended with %+v", a)
			}
			c.Close()
			if err := s.wait(t); err != nil {
				t.Errorf("the process ended with %v", err)
			}
		})
	}
}

func TestUnsafeCombinationsAreRefused(t *testing.T) {
	strong := "sk-0123456789abcdefghijklmn"
	for name, c := range map[string]struct {
		up   launch.Up
		want []string
	}{
		"admin API in plaintext off loopback": {launch.Up{Admin: "0.0.0.0:0"}, []string{"--admin 0.0.0.0:0", "loopback", "hopgate control"}},
		"no key off loopback":                 {launch.Up{Listen: "0.0.0.0:0", Anonymous: true}, []string{"--anonymous", "--listen 0.0.0.0:0"}},
		"no key behind a public origin":       {launch.Up{Anonymous: true, PublicOrigins: []string{"https://mcp.example.com"}}, []string{"--anonymous", "PROXY_BASE_URL"}},
		"short master key off loopback":       {launch.Up{Listen: "0.0.0.0:0", MasterKey: "sk-1234"}, []string{"HOPGATE_MASTER_KEY", "the MCP listener on 0.0.0.0:0", "24"}},
		"chosen master key off loopback":      {launch.Up{Listen: "0.0.0.0:0", MasterKey: strings.Repeat("sk-1234", 5)}, []string{"HOPGATE_MASTER_KEY", "too weak", "8 of them different"}},
		"a region that is no name":            {launch.Up{Region: "EU West"}, []string{`--region "EU West"`}},
		"a listener that is taken":            {launch.Up{Listen: "no-port", MasterKey: strong}, []string{"no-port"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, m := bootUp(t, c.up)
			err := m.wait(t)
			if err == nil {
				t.Fatal("it ran")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if c.up.MasterKey != "" && strings.Contains(err.Error()+m.log.String(), c.up.MasterKey) {
				t.Error("the key is echoed")
			}
		})
	}
}

func TestAnAddressInUseEndsWhatHadStarted(t *testing.T) {
	s := up(t, launch.Up{})
	_, m := bootUp(t, launch.Up{Listen: strings.TrimPrefix(strings.Replace(s.mcp, "localhost", "127.0.0.1", 1), "http://")})
	if err := m.wait(t); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("ended with %v", err)
	}
	_, m = bootUp(t, launch.Up{DataDir: s.dir})
	if err := m.wait(t); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process on one data directory ended with %v", err)
	}
}

func TestTheGreetingNamesWhatAnswers(t *testing.T) {
	key := "sk-0123456789abcdefghijklmn"
	s := up(t, launch.Up{Listen: "0.0.0.0:0", MasterKey: key})
	if !strings.HasPrefix(s.mcp, "http://localhost:") || strings.Contains(s.out.String(), key) {
		t.Errorf("greeting:\n%s", s.out)
	}
	if status, _, _ := tools(t, s.mcp, "nothing", key); status != http.StatusNotFound {
		t.Errorf("status %d, want 404", status)
	}
	public := up(t, launch.Up{Listen: "0.0.0.0:0", MasterKey: key, PublicOrigins: []string{"https://mcp.example.com"}})
	if public.mcp != "https://mcp.example.com" {
		t.Errorf("greeting:\n%s", public.out)
	}
}
