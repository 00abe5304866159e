package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.txt expect")

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"HOPGATE_", "LITELLM_", "PROXY_", "MCP_", "OTEL_"} {
			if strings.HasPrefix(name, prefix) {
				os.Unsetenv(name)
			}
		}
	}
	// A control plane that was built but couldn't boot keeps the idle connection of its REST face; the process ends then.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}

// TestScripts runs the command lines of testdata/*.txt as a shell would and compares what they print. A line is one of
//
//	$ hopgate …          runs a command; "> FILE" at the end keeps its output, $KEY is the last key that was printed, $OLD a variable,
//	                     $C1, $C2 … the changes that were made, in order
//	$? hopgate …         the same, again and again until it succeeds
//	$! hopgate …         the same, again and again until it fails
//	$& hopgate …         runs a command beside the others until it has said something on standard error
//	$ interrupt WORD     waits until that command has printed WORD, interrupts it, and shows what it printed
//	$ up …               starts hopgate up on free ports, in data, and points the commands after it there; what was up before is stopped
//	$ export NAME=VALUE  sets a variable
//
// and below it what it prints: output as it is, errors after "! ", an exit code other than 0 in brackets. Files stand at the end.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { run(t, path) })
	}
}

func run(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	text, files, found := strings.Cut(string(b), "\n-- ")
	if found {
		files = "-- " + files
	}
	t.Chdir(t.TempDir())
	unpack(t, files)
	s := &shell{t: t}
	got := s.play(text)
	if found {
		got += "\n" + files
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(b); got != want {
		t.Errorf("run with -update to accept:\n%s", difference(want, got))
	}
}

func unpack(t *testing.T, files string) {
	for _, f := range regexp.MustCompile(`(?m)^-- (.+) --\n`).FindAllStringSubmatchIndex(files, -1) {
		name, rest := files[f[2]:f[3]], files[f[1]:]
		if next := strings.Index(rest, "\n-- "); next >= 0 {
			rest = rest[:next+1]
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// difference shows the first line that differs, with what comes before and after it.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g))-1 && w[i] == g[i] {
		i++
	}
	near := func(lines []string) string { return strings.Join(lines[max(0, i-4):min(len(lines), i+6)], "\n\t") }
	return fmt.Sprintf("from line %d\nwant\n\t%s\ngot\n\t%s", i+1, near(w), near(g))
}

// shell plays one script.
type shell struct {
	t       *testing.T
	key     string
	changes []string
	stop    func()
	beside  *beside // nil: none
}

// beside is a command that runs beside the others.
type beside struct {
	out, trouble paper
	done         chan int
	interrupt    func()
}

// play runs the commands of a script and returns it with what they print.
func (s *shell) play(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		mode, command, ok := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
			fmt.Fprintf(&out, "\n%s\n", line)
		case ok && (mode == "$" || mode == "$?" || mode == "$!" || mode == "$&"):
			fmt.Fprintf(&out, "\n%s\n%s", line, s.command(mode, command))
		}
	}
	if s.stop != nil {
		s.stop()
	}
	return strings.TrimPrefix(out.String(), "\n")
}

func (s *shell) command(mode, line string) string {
	line, file, _ := strings.Cut(line, " > ")
	names := []string{"$KEY", s.key, "$OLD", os.Getenv("OLD")}
	for i, id := range s.changes {
		names = append(names, fmt.Sprintf("$C%d", i+1), id)
	}
	args := split(strings.NewReplacer(names...).Replace(line))
	switch args[0] {
	case "export":
		name, value, _ := strings.Cut(args[1], "=")
		s.t.Setenv(name, value)
		return ""
	case "up":
		return s.up(args[1:])
	}
	switch {
	case mode == "$&":
		s.begin(args[1:])
		return ""
	case args[0] == "interrupt":
		return s.interrupt(args[1])
	}
	for end := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		var out, trouble bytes.Buffer
		code := execute(s.t.Context(), args[1:], strings.NewReader(""), &out, &trouble)
		if mode == "$?" && code != 0 || mode == "$!" && code == 0 {
			if time.Now().After(end) {
				s.t.Errorf("%s %s: still exit code %d", mode, line, code)
				return ""
			}
			continue
		}
		if key := keys.FindString(out.String()); key != "" {
			s.key = key
		}
		if change := made.FindStringSubmatch(out.String()); change != nil {
			s.changes = append(s.changes, change[1])
		}
		if file != "" {
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				s.t.Fatal(err)
			}
			out.Reset()
		}
		return transcript(out.String(), trouble.String(), code)
	}
}

// begin starts a command beside the others.
func (s *shell) begin(args []string) {
	ctx, stop := context.WithCancel(context.Background())
	b := &beside{done: make(chan int, 1), interrupt: stop}
	s.beside = b
	s.t.Cleanup(stop)
	go func() { b.done <- execute(ctx, args, strings.NewReader(""), &b.out, &b.trouble) }()
	s.until(&b.trouble, "")
}

// interrupt ends the command beside the others once it has printed a word.
func (s *shell) interrupt(word string) string {
	b := s.beside
	s.until(&b.out, word)
	b.interrupt()
	code := <-b.done
	return transcript(settled(b.out.String(), word), b.trouble.String(), code)
}

// settled leaves out what was told of data planes on their way to what the word says: how often somebody looks is chance.
func settled(out, word string) string {
	var kept strings.Builder
	for line := range strings.Lines(out) {
		tells := strings.HasPrefix(line, "node ") || strings.HasPrefix(line, `{"node":`)
		if !tells || strings.Contains(line, word) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func (s *shell) until(p *paper, word string) {
	for end := time.Now().Add(patience); p.String() == "" || !strings.Contains(p.String(), word); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Errorf("no %q in %q", word, p.String())
			return
		}
	}
}

// up starts the process that the commands after it talk to.
func (s *shell) up(args []string) string {
	if s.stop != nil {
		s.stop()
	}
	ctx, stop := context.WithCancel(context.Background())
	out, done := &paper{}, make(chan int, 1)
	args = append([]string{"up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", "data"}, args...)
	go func() { done <- execute(ctx, args, strings.NewReader(""), out, out) }()
	s.stop = sync.OnceFunc(func() {
		stop()
		if code := <-done; code != 0 {
			s.t.Errorf("up ended with %d:\n%s", code, out)
		}
	})
	s.t.Cleanup(s.stop)
	greeting := regexp.MustCompile(`MCP on (\S+), admin API on (\S+) `)
	for end := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		if found := greeting.FindStringSubmatch(out.String()); found != nil {
			s.t.Setenv("HOPGATE_URL", found[1])
			s.t.Setenv("HOPGATE_API", found[2])
			s.t.Setenv("HOPGATE_DATA_DIR", "data")
			s.told()
			return ""
		}
		if time.Now().After(end) {
			s.t.Fatalf("up doesn't greet:\n%s", out)
		}
	}
}

// told waits until the control plane has heard from the data plane that it serves everything: it says so after it has begun to.
func (s *shell) told() {
	for end := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		var out, trouble bytes.Buffer
		if execute(s.t.Context(), []string{"status"}, strings.NewReader(""), &out, &trouble) == 0 && strings.Contains(out.String(), "in sync") {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the data plane isn't in sync:\n%s%s", &out, &trouble)
		}
	}
}

// paper is an output that can be read while it is written.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write appends.
func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// String is what was written so far.
func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// split takes a command line apart at blanks outside quotes.
func split(line string) []string {
	var out []string
	var word strings.Builder
	var quote rune
	begun := false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	return out
}

func transcript(out, trouble string, code int) string {
	var b strings.Builder
	b.WriteString(out)
	for line := range strings.Lines(trouble) {
		b.WriteString("! " + line)
	}
	if code != 0 {
		fmt.Fprintf(&b, "[%d]\n", code)
	}
	return scrub(b.String())
}

// keys are API keys as they are printed.
var keys = regexp.MustCompile(`sk-[A-Za-z0-9_-]{32}`)

// made are changes as commands that made them print them.
var made = regexp.MustCompile(`(?m)^change (\S+)`)

// What differs from run to run.
var scrubbers = []struct {
	what *regexp.Regexp
	with string
}{
	{keys, "<key>"},
	{regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`), "<ulid>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<sha256>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<trace>"},
	{regexp.MustCompile(`etag("?): "?[A-Za-z0-9_-]{43,}"?`), `etag$1: <etag>`},
	{regexp.MustCompile(`\betag [A-Za-z0-9_-]{43,}`), `etag <etag>`},
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{5}`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`localhost:\d{5}`), "localhost:<port>"},
	{regexp.MustCompile(`revision \d+`), "revision <n>"},
	{regexp.MustCompile(`added key \d+`), "added key <n>"},
	{regexp.MustCompile(`(revision"?: ?)"\d+"`), `$1"<n>"`},
	{regexp.MustCompile(`[A-Za-z0-9+/]{43}=`), "<hash>"},
	{regexp.MustCompile(`(in sync\s+\S+\s+)\d+(\s+)\d+s`), "$1<n>$2<age>"},
	{regexp.MustCompile(`(\S)   +`), "$1   "},
	{regexp.MustCompile(`\bgo1\.\d+(\.\d+)?`), "go<n>"},
	{regexp.MustCompile(`/tmp/\S*?/00\d/`), "<dir>/"},
}

func scrub(s string) string {
	for _, x := range scrubbers {
		s = x.what.ReplaceAllString(s, x.with)
	}
	return s
}
