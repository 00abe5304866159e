//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program says how to start a peer. Its environment is Env and what every program needs, nothing of ours.
type program struct {
	Name string
	Args []string
	Env  []string
	Dir  string
	// Clean: it must end by itself, with status 0, when asked to; others are killed.
	Clean bool
}

// running is a started peer.
type running struct {
	program
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
	state error // of the process, once ended is closed
}

func (p program) command(ctx context.Context, t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, p.Args[0], p.Args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8", "TERM=dumb"}, p.Env...)
	cmd.Dir = p.Dir
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// start runs a peer until the test ends; its output goes to a log that is shown when the test fails.
func start(t *testing.T, p program) *running {
	t.Helper()
	r := &running{program: p, ended: make(chan struct{})}
	out, err := os.CreateTemp(logDir(t), p.Name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	if p.Dir == "" {
		p.Dir = t.TempDir()
	}
	r.log = out.Name()
	r.cmd = p.command(context.Background(), t)
	r.cmd.Stdout, r.cmd.Stderr = out, out
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	go func() {
		r.state = r.cmd.Wait()
		out.Close() //nolint:errcheck // a log
		close(r.ended)
	}()
	t.Cleanup(func() { r.finish(t) })
	return r
}

// finish ends the peer, checks that it went in peace if it has to, and shows its log if the test failed.
func (r *running) finish(t *testing.T) {
	switch {
	case r.alive() && r.Clean:
		r.stop(t)
	case r.alive():
		r.kill()
	}
	if t.Failed() {
		t.Logf("%s (%s):\n%s", r.Name, r.log, tail(polls.ReplaceAllString(r.output(), ""), 40))
	}
}

// polls are the access lines of our own waiting.
var polls = regexp.MustCompile(`(?m)^.*"GET /readyz .*\n`)

// endsIn is how long a peer may take to end.
const endsIn = 10 * time.Second

// stop asks the peer to end and checks that it does, with status 0, in time.
func (r *running) stop(t *testing.T) {
	t.Helper()
	asked := mark()
	r.signal(syscall.SIGTERM)
	select {
	case <-r.ended:
		asked.within(t, r.Name+" ends after SIGTERM", time.Since(asked.at), endsIn)
	case <-time.After((1 + mostStretch) * endsIn):
		t.Errorf("%s was still there %s after SIGTERM", r.Name, time.Since(asked.at).Round(time.Second))
		r.kill()
		return
	}
	if r.state != nil {
		t.Errorf("%s was asked to end and ended with: %v", r.Name, r.state)
	}
}

// kill ends the peer and everything it started, at once.
func (r *running) kill() {
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it may be gone already
	<-r.ended
}

func (r *running) signal(s syscall.Signal) {
	syscall.Kill(-r.cmd.Process.Pid, s) //nolint:errcheck // it may be gone already
}

func (r *running) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

func (r *running) output() string {
	b, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// result is what a program that ran to its end left.
type result struct {
	Out, Err string
	Code     int
	Took     time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit status %d after %s\n--- stdout\n%s\n--- stderr\n%s", r.Code, r.Took.Round(time.Millisecond), tail(r.Out, 60), tail(r.Err, 60))
}

// run runs a program to its end, which has to come within the limit, and as much later as the machine stalls.
func run(t *testing.T, limit time.Duration, p program, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), (1+mostStretch)*limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := p.command(ctx, t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	began := mark()
	err := cmd.Run()
	res := result{Out: out.String(), Err: errs.String(), Took: time.Since(began.at)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil, res.Took > limit && res.Took > began.stretched(limit):
		t.Fatalf("%s didn't end within %s: %v", p.Name, limit, res)
	case errors.As(err, &exit):
		res.Code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%s: %v", p.Name, err)
	}
	return res
}

// must runs a program that has to succeed and returns its standard output.
func must(t *testing.T, limit time.Duration, p program, stdin string) string {
	t.Helper()
	res := run(t, limit, p, stdin)
	if res.Code != 0 {
		t.Fatalf("%s: %v", strings.Join(p.Args, " "), res)
	}
	return res.Out
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{fmt.Sprintf("… %d lines left out", len(lines)-n)}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}

// eventually asks until ok returns nil, and fails with its last answer when the limit is over, and as much again as the machine stalled meanwhile.
func eventually(t *testing.T, limit time.Duration, what string, ok func() error) {
	t.Helper()
	began := mark()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if passed := time.Since(began.at); passed > limit && passed > began.stretched(limit) {
			t.Fatalf("%s: still not after %s, of which the machine stalled for %s: %v", what, passed.Round(time.Millisecond),
				began.stalled().Round(time.Millisecond), err)
		}
		<-tick.C
	}
}
