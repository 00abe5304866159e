package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// proc is a process that runs while figures are taken.
type proc struct {
	name string
	cmd  *exec.Cmd
}

// end ends a process and waits for that.
func (p *proc) end() {
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "bench:", p.name, err)
	}
}

// hertz is the kernel's USER_HZ, in which /proc counts CPU time on Linux.
const hertz = 100

// ticks is the CPU time of some processes so far.
func ticks(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) > 12 {
			sum += number(f[11]) + number(f[12])
		}
	}
	return sum
}

type usage struct{ busy, total float64 }

func (u usage) sub(v usage) usage { return usage{u.busy - v.busy, u.total - v.total} }

// machineTicks is the CPU time of the whole machine so far: busy, and all there was.
func machineTicks() usage {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var u usage
	for i, f := range strings.Fields(line)[1:] {
		if i >= 8 {
			break // guest time is in user time already
		}
		n := number(f)
		u.total += n
		if i != 3 && i != 4 {
			u.busy += n
		}
	}
	return u
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64) //nolint:errcheck // the kernel writes numbers
	return n
}

func children(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) //nolint:errcheck // no children then
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// allocs reads a proxy's count of heap allocations from its own metrics; 0 without a proxy.
func allocs(ctx context.Context, g *gate) float64 {
	n, _ := counts(ctx, g)
	return n
}

// counts reads how many heap allocations and collections a proxy has made from its own metrics; 0 without a proxy.
func counts(ctx context.Context, g *gate) (allocs, collections float64) {
	if g == nil {
		return 0, 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.metrics()+"/metrics", nil)
	if err != nil {
		return 0, 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0
	}
	defer res.Body.Close() //nolint:errcheck // read only
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "go_memstats_mallocs_total "); ok {
			allocs = number(v)
		}
		if v, ok := strings.CutPrefix(s.Text(), "go_gc_duration_seconds_count "); ok {
			collections = number(v)
		}
	}
	return allocs, collections
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// cpuTime is the CPU time of a process so far, all its threads with what they have used since they were last put on a core: its CPU clock
// (clock_getcpuclockid(3)), in nanoseconds where /proc counts hundredths of a second. 0 once the process has ended.
func cpuTime(pid int) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil { //nolint:gosec // a pid has 22 bits
		return 0
	}
	return time.Duration(t.Nano())
}
