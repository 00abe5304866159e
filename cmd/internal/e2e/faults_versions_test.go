//go:build e2e && linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A fleet goes from an older version to this one and back, one process at a time, under traffic.

const (
	// oldCommit names another commit to go from and back to; by default it is the last one whose data planes don't know what restricting makes:
	// the one before oldLacks came into the file oldLevels.
	oldCommit = "SOAK_OLD"
	oldLacks  = `{path: "overlay"`
	oldLevels = ":/proto/rules/level.go"
)

// olderBinary builds the program as it was.
func olderBinary(t *testing.T) (path, commit string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput() //nolint:gosec // the test's own words
		return strings.TrimSpace(string(out)), err
	}
	root, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		t.Fatalf("an older version is built from the history of this repository, and there is none (%s): run this test in a clone", root)
	}
	want := os.Getenv(oldCommit)
	if want == "" {
		came, err := git("log", "--reverse", "--format=%H", "-S"+oldLacks, "--", oldLevels)
		if err != nil || came == "" {
			t.Fatalf("no commit brought %s into %s (%v): name one to go from with %s", oldLacks, oldLevels, err, oldCommit)
		}
		want = strings.Fields(came)[0] + "^"
	}
	if commit, err = git("rev-parse", "--verify", "--quiet", want+"^{commit}"); err != nil {
		t.Fatalf("%s isn't in this clone: run git fetch --unshallow, or name a commit that is with %s", want, oldCommit)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("git -C %q archive %s | tar -x -C %q && cd %q && go build -trimpath -o hopgate.old ./cmd/hopgate", root, commit, dir, dir)
	if out, err := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", script).CombinedOutput(); err != nil { //nolint:gosec // as above
		t.Fatalf("building %s: %v\n%s", commit, err, tail(string(out), 30))
	}
	return filepath.Join(dir, "hopgate.old"), commit
}

// becomes ends a process in peace and starts it as another binary, on the same files and addresses.
func (r *running) becomes(t *testing.T, binary string) {
	t.Helper()
	r.stop(t)
	r.Args = append([]string{binary}, r.Args[1:]...)
	*r = *start(t, r.program)
}

// tightKey may use no tool that is called echo.
const tightKey = "sk-e2e-tight-0123456789abcdef"

// restricting are objects whose restrictions older versions can't read.
func restricting(url string) string {
	sum := sha256.Sum256([]byte(tightKey))
	return server("narrow", url) +
		"kind: Overlay\nname: narrow-eu\nspec: {kind: server, target: narrow, region: eu, server: {timeouts: {total: 2m}}}\n---\n" +
		"kind: ApiKey\nname: tight\nspec: {sha256: " + hex.EncodeToString(sum[:]) + ", servers: [\"*\"], tools: [{server: \"*\", deny: [echo]}]}\n---\n"
}

func TestFleetGoesFromAnOlderVersionToThisOneAndBack(t *testing.T) {
	old, commit := olderBinary(t)
	t.Logf("the older version is commit %s", commit)
	now := hopgate(t)
	t.Setenv("E2E_HOPGATE", old)
	c := startControl(t, "control", nil)
	first, second := startProxy(t, "first", nil, []*control{c}, "--region", "eu"), startProxy(t, "second", nil, []*control{c}, "--region", "eu")
	url := demoServer(t)
	c.apply(t, server("demo", url)+server("other", url))
	key := c.key(t, "caller", "*")
	flow := startTraffic(t, second, "demo", key)
	was := c.digest(t, "second")

	c.becomes(t, now)
	c.wait(t)
	c.inSync(t, "first", "second")
	if is := c.digest(t, "second"); is != was {
		t.Errorf("digest %s under the older control plane, %s under the newer", was, is)
	}
	t.Setenv("E2E_HOPGATE", now) // the commands are of the new version
	if res := c.command(t, restricting(url), nil, "apply", "-f", "-"); res.Code != 0 {
		t.Fatal(res)
	}
	c.inSync(t, "first", "second")
	for _, p := range []*proxy{first, second} {
		neverWider(t, p, "an older data plane")
		if s := statusOf(p, "narrow", key); s != http.StatusNotFound {
			t.Errorf("%s serves narrow without its overlay: status %d, want 404", p.Name, s)
		}
	}

	first.becomes(t, now)
	first.wait(t)
	c.inSync(t, "first", "second")
	eventually(t, 20*time.Second, "the newer data plane serves narrow", func() error { return echo(first.url("narrow"), key, "new") })
	neverWider(t, first, "a newer data plane")
	heads := c.heads(t, "servers", "apikeys", "overlays")

	c.becomes(t, old)
	c.wait(t)
	c.inSync(t, "first", "second")
	neverWider(t, first, "a newer data plane under an older control plane")
	if a, err := c.send(http.MethodPatch, "/v1/servers/other", "", `{"labels": {"touched": "yes"}}`); err != nil || a.Status != http.StatusOK {
		t.Errorf("an edit at the older control plane: %v %+v", err, a)
	}
	if a, b := heads["servers"], c.heads(t, "servers")["servers"]; !slices.Equal(without(a, "other"), without(b, "other")) {
		t.Errorf("servers were %v, at the older control plane they are %v", a, b)
	}
	if err := echo(first.url("demo"), key, "still"); err != nil {
		t.Errorf("a newer data plane under an older control plane: %v", err)
	}
	flow.spotless(t, "the data plane that stayed old")

	c.becomes(t, now)
	c.wait(t)
	for kind, was := range heads {
		if is := c.heads(t, kind)[kind]; !slices.Equal(without(was, "other"), without(is, "other")) {
			t.Errorf("%s: before the way back %v, after it %v", kind, was, is)
		}
	}
	first.becomes(t, old)
	first.wait(t)
	c.inSync(t, "first", "second")
	firstAnswer(t, first, key)
	neverWider(t, first, "a data plane that went back")
}

// neverWider checks that the restricted key may not do what it is kept from.
func neverWider(t *testing.T, p *proxy, who string) {
	t.Helper()
	for range 20 {
		a, err := post(p.url("demo"), tightKey, toolCall("echo", map[string]any{"message": "x"}))
		if err != nil || a.Status == http.StatusOK && !strings.Contains(a.Body, `"error"`) {
			t.Errorf("%s let a key use the tool that its rules deny: status %d %.200s %v", who, a.Status, a.Body, err)
			return
		}
	}
}

// heads are name and etag of every object of a kind; the etag ends in the hash of the body.
func (c *control) heads(t *testing.T, kinds ...string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, kind := range kinds {
		var raw map[string]json.RawMessage
		ok(t, c.get("/v1/"+kind+"?page_size=1000", &raw))
		for field, list := range raw {
			var objs []struct {
				Name string
				Meta struct{ Etag string }
			}
			if !bytes.HasPrefix(list, []byte("[")) {
				continue
			}
			if err := json.Unmarshal(list, &objs); err != nil {
				t.Fatalf("%s: %s: %v", kind, field, err)
			}
			for _, o := range objs {
				out[kind] = append(out[kind], o.Name+" "+o.Meta.Etag)
			}
		}
		if len(out[kind]) == 0 {
			t.Errorf("%s has no %s", c.Name, kind)
		}
	}
	return out
}

func without(heads []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(heads), func(h string) bool { return strings.HasPrefix(h, name+" ") })
}
