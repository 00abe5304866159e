//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Staged changes on a fleet of data planes with a defect: they are the program as it is but for two places. A server with the label
// defect=dies ends the process that puts it in force, one with defect=compile can't be compiled.

// defects are what the build of the fleet has in place of a line of the product, by file.
var defects = map[string][2]string{
	"dataplane/table/apply.go": {"\te.settle()\n\te.believe()", `	for _, o := range d.Upserts {
		if strings.Contains(string(o.Body), "dies") && strings.Contains(string(o.Body), "defect") {
			panic("a defect of this build: " + o.Key.String())
		}
	}
	e.settle()
	e.believe()`},
	"dataplane/table/compile_server.go": {"\tspec, name := m.GetSpec(), obj.Key.Name\n", `	spec, name := m.GetSpec(), obj.Key.Name
	if m.GetLabels()["defect"] == "compile" {
		panic("a defect of this build: " + name)
	}
`},
}

var defective struct {
	once sync.Once
	path string
	err  error
}

// defectiveBuild builds the program with the defects, once per run.
func defectiveBuild(t *testing.T) string {
	t.Helper()
	defective.once.Do(func() { defective.path, defective.err = buildDefective(t) })
	if defective.err != nil {
		t.Fatal(defective.err)
	}
	return defective.path
}

func buildDefective(t *testing.T) (string, error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(os.Getenv("E2E_LOGS"), "defective-") // which goes when all went well
	if err != nil {
		return "", err
	}
	replaced := map[string]string{}
	for file, lines := range defects {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		if strings.Count(string(source), lines[0]) != 1 {
			return "", fmt.Errorf("%s doesn't have the lines for the defect once: %q", file, lines[0])
		}
		text := strings.Replace(string(source), lines[0], lines[1], 1)
		if !strings.Contains(text, "\"strings\"") {
			text = strings.Replace(text, "import (\n", "import (\n\t\"strings\"\n", 1)
		}
		replaced[filepath.Join(root, file)] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "hopgate")
	res := run(t, 10*time.Minute, program{Name: "go build", Dir: root, Env: os.Environ(),
		Args: []string{debian(t, "go"), "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-o", out, "./cmd/hopgate"}}, "")
	if res.Code != 0 {
		return "", errors.New(res.String())
	}
	t.Logf("the build with defects took %s", res.Took.Round(time.Millisecond))
	return out, nil
}

// supervisor starts a program again a little after it ended, as an init system does, and says when it ended and with what.
const supervisor = `trap : TERM
while :; do
	"$@" & child=$!
	echo "supervisor: started $child"
	wait $child; status=$?
	echo "supervisor: ended with $status at $(date +%s.%N)"
	sleep 0.2
done`

// supervised starts a data plane of the defective build below a supervisor and waits until it is ready.
func supervised(t *testing.T, name string, controls []*control, flags ...string) *proxy {
	t.Helper()
	host := ownHost()
	p := &proxy{Listen: host + ":4000", Admin: host + ":4003", State: filepath.Join(t.TempDir(), "state")}
	sync := []string{}
	for _, c := range controls {
		sync = append(sync, c.Sync)
	}
	args := []string{"/bin/sh", "-c", supervisor, "supervisor", defectiveBuild(t), "proxy", "--node", name, "--control", strings.Join(sync, ","),
		"--listen", p.Listen, "--admin", p.Admin, "--state-dir", p.State, "--drain-delay", "0s", "--drain-timeout", "2s"}
	p.running = start(t, program{Name: name, Args: append(args, flags...)})
	p.wait(t)
	return p
}

var (
	startedLine = regexp.MustCompile(`(?m)^supervisor: started (\d+)$`)
	endedLine   = regexp.MustCompile(`(?m)^supervisor: ended with (\d+) at (\d+)\.(\d{6})`)
)

// endings are when the supervisor saw the data plane end, and with what status.
func (p *proxy) endings() (at []time.Time, status []string) {
	for _, m := range endedLine.FindAllStringSubmatch(p.output(), -1) {
		s, _ := strconv.ParseInt(m[2], 10, 64)  //nolint:errcheck // digits
		us, _ := strconv.ParseInt(m[3], 10, 64) //nolint:errcheck // digits
		at, status = append(at, time.Unix(s, us*1000)), append(status, m[1])
	}
	return at, status
}

// restart asks the data plane alone to end; its supervisor starts it again. It returns when that one is ready.
func (p *proxy) restart(t *testing.T) {
	t.Helper()
	before, _ := p.endings()
	all := startedLine.FindAllStringSubmatch(p.output(), -1)
	pid, err := strconv.Atoi(all[len(all)-1][1])
	ok(t, err)
	ok(t, syscall.Kill(pid, syscall.SIGTERM))
	eventually(t, shown, p.Name+" was restarted", func() error {
		if now, status := p.endings(); len(now) == len(before) {
			return errors.New("it hasn't ended")
		} else if status[len(status)-1] != "0" {
			t.Fatalf("%s was asked to end and ended with %v", p.Name, status)
		}
		if len(startedLine.FindAllStringSubmatch(p.output(), -1)) == len(all) {
			return errors.New("it wasn't started again")
		}
		return okay("http://" + p.Listen + "/readyz")
	})
}

// staging is a fleet that staged changes go to.
type staging struct {
	controls []*control
	planes   []*proxy
	key      string
	demo     string
}

// startStaging starts a fleet that serves one server, demo, to a caller of everything.
func startStaging(t *testing.T, controls []*control, planes int) *staging {
	t.Helper()
	s := &staging{controls: controls, demo: demoServer(t)}
	for i := range planes {
		near := append(slices.Clone(controls[i%len(controls):]), controls[:i%len(controls)]...)
		s.planes = append(s.planes, supervised(t, fmt.Sprintf("plane-%d", i+1), near))
	}
	controls[0].apply(t, server("demo", s.demo))
	s.key = controls[0].key(t, "caller", "*")
	s.synced(t)
	return s
}

// any is a control plane that is alive.
func (s *staging) any() *control {
	for _, c := range s.controls {
		if c.alive() {
			return c
		}
	}
	return s.controls[0]
}

// synced waits until every data plane is connected somewhere and serves what it should, and returns the digests.
func (s *staging) synced(t *testing.T) map[string]string {
	t.Helper()
	digests := map[string]string{}
	eventually(t, 30*time.Second, "every data plane is in sync", func() error {
		clear(digests)
		for _, c := range s.controls {
			if !c.alive() {
				continue
			}
			for name, n := range c.nodes(t) {
				if n.GetConnected() && !n.GetInSync() {
					return fmt.Errorf("%s is behind", name)
				}
				if n.GetConnected() {
					digests[name] = fmt.Sprintf("%x", n.GetDigest())
				}
			}
		}
		if len(digests) != len(s.planes) {
			return fmt.Errorf("%d of %d are connected", len(digests), len(s.planes))
		}
		return nil
	})
	return digests
}

// provenGood waits until every data plane wrote to disk that what it got by then has served long enough.
func (s *staging) provenGood(t *testing.T, applied time.Time) {
	t.Helper()
	eventually(t, time.Minute, "the config of all is marked good", func() error {
		for _, p := range s.planes {
			if err := p.wroteLater(applied); err != nil {
				return err
			}
		}
		return nil
	})
}

// same fails unless all digests are those of before.
func same(t *testing.T, what string, before, now map[string]string) {
	t.Helper()
	for name, d := range before {
		if now[name] != d {
			t.Errorf("%s: %s holds %.8s, before %.8s", what, name, now[name], d)
		}
	}
}

var stagedLine = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b`)

// stage applies a staged change and returns its id.
func (s *staging) stage(t *testing.T, yaml string, flags ...string) string {
	t.Helper()
	res := s.any().command(t, yaml, nil, append([]string{"apply", "-f", "-", "--strategy", "canary"}, flags...)...)
	id := stagedLine.FindString(res.Out)
	if res.Code != 0 || id == "" {
		t.Fatalf("apply: %v", res)
	}
	return id
}

// rollout reads one over REST.
func (c *control) rollout(id string) (*adminv1.Rollout, error) {
	var raw json.RawMessage
	if err := c.get("/v1/rollouts/"+id, &raw); err != nil {
		return nil, err
	}
	r := &adminv1.Rollout{}
	return r, protojson.Unmarshal(raw, r)
}

// becomes waits until a rollout is in a state, at a step or behind it, and returns it.
func (s *staging) becomes(t *testing.T, limit time.Duration, id, state string, step int32) (r *adminv1.Rollout) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("rollout %s is %s at step %d", id, state, step), func() (err error) {
		if r, err = s.any().rollout(id); err != nil {
			return err
		}
		if r.GetState() != state || r.GetStep() < step {
			return fmt.Errorf("it is %s at step %d: %s", r.GetState(), r.GetStep(), r.GetReason())
		}
		return nil
	})
	return r
}

// having are the data planes that serve a server.
func (s *staging) having(server string) (out []*proxy) {
	for _, p := range s.planes {
		if statusOf(p, server, s.key) == http.StatusOK {
			out = append(out, p)
		}
	}
	return out
}

// labelled is a Server document with a label.
func labelled(name, url, label, value string) string {
	return fmt.Sprintf("kind: Server\nname: %s\nlabels: {%s: %s}\nspec:\n  endpoints: [{url: %q}]\n---\n", name, label, value, url)
}
