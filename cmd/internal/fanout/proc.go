package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// hertz is the kernel's USER_HZ, in which /proc counts CPU time on Linux.
const hertz = 100

// cpu is the CPU time of a process so far.
func cpu(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:errcheck // it has ended then
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	return time.Duration((number(f[11]) + number(f[12])) / hertz * float64(time.Second))
}

// memory is what a process has in RAM, in bytes.
func memory(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close() //nolint:errcheck // read only
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			return int64(number(strings.Fields(v)[0])) << 10
		}
	}
	return 0
}

// busy is the CPU time that the whole machine has spent so far.
func busy() time.Duration {
	b, _ := os.ReadFile("/proc/stat") //nolint:errcheck // zero then
	line, _, _ := strings.Cut(string(b), "\n")
	sum := 0.0
	for i, f := range strings.Fields(line) {
		if i > 0 && i < 9 && i != 4 && i != 5 { // neither idle, nor guest time, which is in user time already
			sum += number(f)
		}
	}
	return time.Duration(sum / hertz * float64(time.Second))
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64) //nolint:errcheck // the kernel writes numbers
	return n
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

func cores() float64 { return float64(runtime.NumCPU()) }
