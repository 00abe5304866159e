//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The commands that people copy out of LiteLLM's MCP troubleshooting guide, with only host, server and key filled in.

const debugCurl = `curl -si -X POST http://localhost:4000/{your_mcp_server}/mcp \
-H "Content-Type: application/json" \
-H "x-litellm-api-key: Bearer sk-YOUR_KEY" \
-H "x-litellm-mcp-debug: true" \
-d '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}' \
2>&1 | grep -i "x-mcp-debug"`

const smokeCurl = `curl -X POST https://your-target-domain.example.com/mcp \
-H "Content-Type: application/json" \
-H "Accept: application/json, text/event-stream" \
-d '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'`

// shell runs a command line as a person would.
func shell(t *testing.T, line string) result {
	t.Helper()
	debian(t, "curl")
	return run(t, 20*time.Second, program{Name: "shell", Args: []string{"bash", "-c", line}}, "")
}

func TestDebugCurlOfTheGuidePrintsWhatHappenedOnEveryHop(t *testing.T) {
	g := startThree(t)
	for name, upstream := range g.direct {
		line := strings.NewReplacer("localhost:4000", g.Listen, "{your_mcp_server}", name, "sk-YOUR_KEY", g.key).Replace(debugCurl)
		res := shell(t, line)
		for _, want := range []string{
			`(?m)^x-mcp-debug-inbound-auth: x-litellm-api-key=Bearer\*\*\*\*` + regexp.QuoteMeta(g.key[len(g.key)-4:]) + "\r?$",
			`(?m)^x-mcp-debug-oauth2-token: \(none\)` + "\r?$", `(?m)^x-mcp-debug-auth-resolution: no-auth` + "\r?$",
			`(?m)^x-mcp-debug-outbound-url: ` + regexp.QuoteMeta(upstream) + "\r?$", `(?m)^x-mcp-debug-server-auth-type: none` + "\r?$",
			`(?m)^x-mcp-debug-hops: auth;ok;[0-9.]+, .*upstream;ok;[0-9.]+` + "\r?$", `(?m)^x-mcp-debug-route: .*` + name,
		} {
			if !regexp.MustCompile(`(?i)` + want).MatchString(res.Out) {
				t.Errorf("%s: no line %q in\n%s", name, want, res)
			}
		}
		if strings.Contains(res.Out, g.key) {
			t.Errorf("%s: the key is in the answer:\n%s", name, res.Out)
		}
		t.Logf("%s:\n%s", name, res.Out)
	}
}

func TestDebugCurlWithAWrongKeyShowsOnlyTheAdmission(t *testing.T) {
	g := startThree(t)
	wrong := "sk-wrong-key-0123456789"
	line := strings.NewReplacer("localhost:4000", g.Listen, "{your_mcp_server}", npmServer, "sk-YOUR_KEY", wrong).Replace(debugCurl)
	res := shell(t, line)
	if !strings.Contains(strings.ToLower(res.Out), "x-mcp-debug-inbound-auth: x-litellm-api-key=bearer****6789") {
		t.Errorf("the wrong key's last characters are not shown: %v", res)
	}
	for _, topology := range []string{"outbound-url", "debug-route", "auth-resolution", "127.83."} {
		if strings.Contains(strings.ToLower(res.Out), topology) {
			t.Errorf("a caller without a key sees %s:\n%s", topology, res.Out)
		}
	}
	whole := shell(t, strings.TrimSuffix(line, "\\\n2>&1 | grep -i \"x-mcp-debug\""))
	for _, want := range []string{"HTTP/1.1 401 Unauthorized", "x-hopgate-error: hop=client; phase=auth; kind=unauthenticated", `WWW-Authenticate: Bearer realm="hopgate"`, "x-hopgate-trace-id: "} {
		if !strings.Contains(strings.ToLower(whole.Out), strings.ToLower(want)) {
			t.Errorf("no %q in the answer to a wrong key:\n%s", want, whole.Out)
		}
	}
}

func TestSmokeCurlOfTheGuideListsTools(t *testing.T) {
	g := startThree(t)
	for name := range g.direct {
		line := strings.Replace(smokeCurl, "https://your-target-domain.example.com/mcp", g.url(name), 1) + fmt.Sprintf(" \\\n-H %q", g.keyHeader())
		if res := shell(t, line); res.Code != 0 || !strings.Contains(res.Out, `"tools":[{`) {
			t.Errorf("%s: %v", name, res)
		}
		if res := shell(t, strings.Replace(line, "/"+name+"/mcp", "/mcp/"+name, 1)); res.Code != 0 || !strings.Contains(res.Out, `"tools":[{`) {
			t.Errorf("%s at its other path: %v", name, res)
		}
	}
}

func TestAccessAndErrorLinesReadLikeTheGuides(t *testing.T) {
	g := startThree(t)
	g.control.apply(t, server("gone", "http://"+ownHost()+":3001/mcp"))
	for _, name := range []string{npmServer, "gone"} {
		if _, err := post(g.url(name), g.key, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`INFO:\s+127\.0\.0\.1:\d+ - "POST /` + npmServer + `/mcp HTTP/1\.1" 200 OK`, `INFO:\s+127\.0\.0\.1:\d+ - "POST /gone/mcp HTTP/1\.1" 502 Bad Gateway`,
		`ERROR.*gone.*refused|refused.*gone`} {
		eventually(t, shown, "log line "+want, func() error {
			if !regexp.MustCompile(want).MatchString(g.output()) {
				return fmt.Errorf("log of the data plane:\n%s", tail(g.output(), 10))
			}
			return nil
		})
	}
	if strings.Contains(g.output(), g.key) {
		t.Error("the key is in the data plane's log")
	}
	t.Logf("%s", tail(g.output(), 4))
}

// The first minute: hopgate up --demo prints a curl that works as it stands.
func TestUpPrintsACurlThatWorks(t *testing.T) {
	host := ownHost()
	up := start(t, program{Name: "up", Clean: true, Args: []string{hopgate(t), "up", "--demo", "--listen", host + ":4000", "--admin", host + ":4001",
		"--data-dir", filepath.Join(t.TempDir(), "data"), "--drain-timeout", "2s"}})
	printed := regexp.MustCompile(`(?s)curl -si.*?\n\n`)
	eventually(t, 20*time.Second, "the curl is printed", func() error {
		if !printed.MatchString(up.output()) {
			return fmt.Errorf("so far:\n%s", up.output())
		}
		return nil
	})
	eventually(t, shown, "the printed curl lists tools", func() error {
		if res := shell(t, printed.FindString(up.output())); !strings.Contains(res.Out, `"tools":[{`) || !strings.Contains(res.Out, "200 OK") {
			return fmt.Errorf("%v", res)
		}
		return nil
	})
}
