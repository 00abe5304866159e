package arch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What deploy/ hands to hopgate, as its command line understands it.

var (
	commandLine = regexp.MustCompile(`^\s*(?:-|ExecStart=\S*hopgate)\s+(control|proxy)(?:\s*\\)?$`)
	givenFlag   = regexp.MustCompile(`^\s*(?:- )?--([a-z][a-z-]*)=`)
	ourVariable = regexp.MustCompile(`\bHOPGATE_[A-Z_]+\b`)
	helpFlag    = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)`)
	composed    = regexp.MustCompile(`^\s*image:\s*(\S+)$`)
	base        = regexp.MustCompile(`^FROM\s+(\S+)`)
	pinned      = regexp.MustCompile(`:[^:/]+$`)
)

// secretVariables have no flag: a command line can be seen by others.
var secretVariables = map[string]bool{"HOPGATE_MASTER_KEY": true, "HOPGATE_ETCD_PASSWORD": true}

// deployed are the files that start something, by path below deploy/.
func deployed(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..", "..", "deploy")
	out := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if err != nil || d.IsDir() || first == "handbook" || first == "examples" {
			return err
		}
		b, err := os.ReadFile(p)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// knownFlags asks the program itself.
func knownFlags(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	for _, command := range []string{"control", "proxy"} {
		help, err := exec.CommandContext(t.Context(), "go", "run", module+"/cmd/hopgate", command, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		out[command] = map[string]bool{}
		for _, m := range helpFlag.FindAllStringSubmatch(string(help), -1) {
			out[command][m[1]] = true
		}
	}
	return out
}

// wrongFlags names flags and variables that nobody knows, and how many flags were looked at.
func wrongFlags(files map[string]string, known map[string]map[string]bool) (wrong []string, seen int) {
	variables := map[string]bool{}
	for _, flags := range known {
		for f := range flags {
			variables["HOPGATE_"+strings.ToUpper(strings.ReplaceAll(f, "-", "_"))] = true
		}
	}
	for p, text := range files {
		command := ""
		for i, line := range strings.Split(text, "\n") {
			if m := commandLine.FindStringSubmatch(line); m != nil {
				command = m[1]
			}
			if m := givenFlag.FindStringSubmatch(line); m != nil {
				seen++
				if !known[command][m[1]] {
					wrong = append(wrong, fmt.Sprintf("%s:%d: %q has no flag --%s", p, i+1, command, m[1]))
				}
			}
			for _, v := range ourVariable.FindAllString(line, -1) {
				if !variables[v] && !secretVariables[v] {
					wrong = append(wrong, fmt.Sprintf("%s:%d: no flag is %s", p, i+1, v))
				}
			}
		}
	}
	return wrong, seen
}

// movingImages names images without a tag, or with one that moves.
func movingImages(files map[string]string) []string {
	var out []string
	for p, text := range files {
		for i, line := range strings.Split(text, "\n") {
			m := composed.FindStringSubmatch(line)
			if strings.HasSuffix(p, "Dockerfile") {
				m = base.FindStringSubmatch(line)
			}
			if m == nil || strings.Contains(p, "templates/") {
				continue
			}
			name := regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(m[1], "v")
			if !pinned.MatchString(name) || strings.HasSuffix(name, ":latest") {
				out = append(out, fmt.Sprintf("%s:%d: %s: name a version", p, i+1, m[1]))
			}
		}
	}
	return out
}

func TestDeployedCommandLinesExist(t *testing.T) {
	known := knownFlags(t)
	wrong, seen := wrongFlags(deployed(t), known)
	for _, w := range wrong {
		t.Error(w)
	}
	if seen < 60 {
		t.Errorf("only %d flags were found", seen)
	}
	for text, want := range map[string]string{
		"  - control\n  - --sync=x\n  - --no-such=eu\n":                 `a:3: "control" has no flag --no-such`,
		"ExecStart=/usr/local/bin/hopgate proxy \\\n  --nod=a\n":        `a:2: "proxy" has no flag --nod`,
		"HOPGATE_MASTER_KEY=x\nHOPGATE_REGION=eu\nHOPGATE_REGIONS=eu\n": "a:3: no flag is HOPGATE_REGIONS",
		"  - --region=eu\n": `a:1: "" has no flag --region`,
		"args:\n  - proxy\n  - --node=a\n  - --listen-address={{ .Values.x }}\n": `a:4: "proxy" has no flag --listen-address`,
	} {
		if got, _ := wrongFlags(map[string]string{"a": text}, known); len(got) != 1 || got[0] != want {
			t.Errorf("%q: got %q, want %s", text, got, want)
		}
	}
}

func TestDeployedImagesArePinned(t *testing.T) {
	for _, m := range movingImages(deployed(t)) {
		t.Error(m)
	}
	breach := map[string]string{"Dockerfile": "FROM golang\nFROM a:1 AS b\n", "c.yaml": "image: nginx:latest\nimage: host:5000/x\nimage: a:${TAG:-1}\n"}
	if got := movingImages(breach); len(got) != 3 {
		t.Errorf("found %q", got)
	}
}

func TestDeployedYAMLParses(t *testing.T) {
	seen := 0
	for p, text := range deployed(t) {
		if filepath.Ext(p) != ".yaml" || strings.Contains(p, "templates/") {
			continue
		}
		seen++
		for d := yaml.NewDecoder(strings.NewReader(text)); ; {
			var v map[string]any
			err := d.Decode(&v)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", p, err)
				break
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d files were read", seen)
	}
}
