package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
)

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
	if g == nil {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.metrics()+"/metrics", nil)
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close() //nolint:errcheck // read only
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "go_memstats_mallocs_total "); ok {
			return number(v)
		}
	}
	return 0
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
