package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// memory is what the data plane has, in bytes.
type memory struct {
	rss, pss   float64
	heap       float64 // reachable and not yet swept objects
	stacks     float64
	goroutines float64
	parts      map[string]float64 // the heap by part
}

// collected is the data plane's memory after a collection.
func (r *rig) collected(ctx context.Context) (*memory, error) {
	var profile string
	for range 2 { // the profile tells of the collection before the last one
		var err error
		if profile, err = fetch(ctx, "http://"+proxyAdmin+"/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return nil, err
		}
	}
	m, err := r.metrics(ctx)
	if err != nil {
		return nil, err
	}
	out, err := r.resident()
	if err != nil {
		return nil, err
	}
	out.heap, out.stacks = m["go_memstats_heap_alloc_bytes"], m["go_memstats_stack_inuse_bytes"]
	out.goroutines, out.parts = m["go_goroutines"], split(profile)
	return out, nil
}

// resident is what the kernel says the data plane has in RAM.
func (r *rig) resident() (*memory, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", r.proxy))
	if err != nil {
		return nil, err
	}
	out := &memory{}
	for line := range strings.Lines(string(rollup)) {
		f := strings.Fields(line)
		switch f[0] {
		case "Rss:":
			out.rss = number(f[1]) * kib
		case "Pss:":
			out.pss = number(f[1]) * kib
		}
	}
	return out, nil
}

// rate is the Go runtime's default distance between two samples of the heap profile (runtime.MemProfileRate).
const rate = 512 << 10

// split adds up a heap profile in text form by the part of the data plane that made the objects.
func split(profile string) map[string]float64 {
	out := map[string]float64{}
	size, where := 0.0, ""
	add := func() {
		if size > 0 && where != "" {
			out[part(where)] += size
		}
		size, where = 0, ""
	}
	for line := range strings.Lines(profile) {
		var count, bytes float64
		if n, _ := fmt.Sscanf(line, "%g: %g [", &count, &bytes); n == 2 {
			add()
			if count > 0 {
				size = bytes / (1 - math.Exp(-bytes/count/rate))
			}
			continue
		}
		if f := strings.Fields(line); len(f) > 2 && f[0] == "#" {
			where += f[2] + "\n"
		}
	}
	add()
	return out
}

// parts of the data plane by names on the stack that made an object; the first that fits counts.
var parts = []struct{ name, mark string }{
	{"upstream leg", "request/hop"},
	{"keep-alive", "reply.startPulse"},
	{"keep-alive", "reply.(*Reply).Stream"},
	{"exchange", "dataplane/request."},
	{"exchange", "dataplane/request/"},
	{"client leg", "dataplane/listen"},
}

func part(stack string) string {
	for _, p := range parts {
		if strings.Contains(stack, p.mark) {
			return p.name
		}
	}
	return "rest"
}

// metrics are the data plane's own.
func (r *rig) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := fetch(ctx, "http://"+proxyAdmin+"/metrics")
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			out[name] = number(value)
		}
	}
	return out, nil
}

// emptied waits until the data plane has let go of all streams.
func (r *rig) emptied(ctx context.Context) error {
	return poll(ctx, "the end of the streams", func() error {
		m, err := r.metrics(ctx)
		if err == nil && m["go_goroutines"] > float64(r.o.streams)/10+100 {
			err = fmt.Errorf("there are still %.0f goroutines", m["go_goroutines"])
		}
		return err
	})
}

// keepProfiles writes the profiles that tell where memory lies.
func (r *rig) keepProfiles(ctx context.Context, prefix string) error {
	for name, query := range map[string]string{"heap": "heap?gc=1", "goroutine": "goroutine?debug=1"} {
		text, err := fetch(ctx, "http://"+proxyAdmin+"/debug/pprof/"+query)
		if err != nil {
			return err
		}
		if err := os.WriteFile(prefix+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(bufio.NewReader(res.Body))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d", url, res.StatusCode)
	}
	return string(b), err
}

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

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64) //nolint:errcheck // the kernel and our own metrics write numbers
	return n
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
