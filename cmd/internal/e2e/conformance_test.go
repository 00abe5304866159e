//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The conformance suite must find through the gateway exactly what it finds without it, scenario by scenario and check by check.

func TestConformanceOfTheStatefulServerIsTheSameThroughTheGateway(t *testing.T) {
	sameThroughTheGateway(t, false, "2025-11-25", score{82, 0})
}

func TestConformanceOfTheStatelessServerIsTheSameThroughTheGateway(t *testing.T) {
	sameThroughTheGateway(t, true, "2026-07-28", score{165, 30})
}

func sameThroughTheGateway(t *testing.T, stateless bool, requirements string, want score) {
	upstream := sdkEverything(t, stateless, localhost(t))
	c := startControl(t, "control", nil)
	listen := localhost(t)
	startProxy(t, "proxy", nil, []*control{c}, "--listen", listen)
	c.apply(t, server("everything", upstream))
	key := c.key(t, "suite", "everything")

	direct := conform(t, "direct", upstream, requirements, "")
	through := conform(t, "gateway", "http://"+listen+"/everything/mcp", requirements, key)
	t.Logf("%s: direct %v in %s, through the gateway %v in %s, %d scenarios", requirements, direct.total, direct.took, through.total, through.took, len(direct.scenarios))
	if direct.total != want || through.total != want {
		t.Errorf("totals: direct %v, through the gateway %v, want %v", direct.total, through.total, want)
	}
	compare(t, direct.scenarios, through.scenarios)
}

// score counts checks.
type score struct{ passed, failed int }

func (s score) String() string { return fmt.Sprintf("%d/%d", s.passed, s.failed) }

// verdict is one run of the suite: per scenario its checks as "id status", sorted.
type verdict struct {
	scenarios map[string][]string
	total     score
	took      time.Duration
}

func conform(t *testing.T, name, url, requirements, key string) verdict {
	t.Helper()
	dir := t.TempDir()
	header := "{}"
	if key != "" {
		header = fmt.Sprintf(`{"x-litellm-api-key":"Bearer %s"}`, key)
	}
	res := run(t, 2*time.Minute, program{Name: "conformance-" + name, Env: []string{"ADD_HEADERS=" + header}, Args: []string{
		node(t), "--require", script(t, "headers.cjs"), npm(t, "@modelcontextprotocol", "conformance", "dist", "index.js"),
		"server", "--url", url, "--requirements", requirements, "-o", dir}}, "")
	if err := os.WriteFile(filepath.Join(logDir(t), "conformance-"+name+".log"), []byte(res.Out+res.Err), 0o644); err != nil {
		t.Fatal(err)
	}
	if res.Code != 0 {
		t.Errorf("the suite is not content, %s: %v", name, res)
	}
	v := verdict{scenarios: map[string][]string{}, took: res.Took.Round(time.Millisecond)}
	v.read(t, dir)
	if total := fmt.Sprintf("Total: %d passed, %d failed", v.total.passed, v.total.failed); !strings.Contains(res.Out, total) {
		t.Errorf("%s: the result files say %v, which is not what the suite printed: %v", name, v.total, res)
	}
	return v
}

// stamped is the name of a scenario's folder: the scenario and when it ran.
var stamped = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

func (v *verdict) read(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no results in %s (%v)", dir, err)
	}
	for _, f := range files {
		name := stamped.FindStringSubmatch(filepath.Base(filepath.Dir(f)))
		if name == nil {
			t.Fatalf("unexpected result file %s", f)
		}
		var checks []struct{ ID, Status, ErrorMessage string }
		b, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(b, &checks)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			v.scenarios[name[1]] = append(v.scenarios[name[1]], c.ID+" "+c.Status)
			switch c.Status {
			case "SUCCESS":
				v.total.passed++
			case "FAILURE":
				v.total.failed++
			}
		}
		slices.Sort(v.scenarios[name[1]])
	}
}

func compare(t *testing.T, direct, through map[string][]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		if !slices.Equal(direct[name], through[name]) {
			t.Errorf("%s differs:\n direct  %v\n gateway %v", name, direct[name], through[name])
		}
	}
	if len(direct) != len(through) {
		t.Errorf("%d scenarios direct, %d through the gateway", len(direct), len(through))
	}
}
