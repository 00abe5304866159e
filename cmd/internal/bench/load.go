package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// path is one way to the upstream.
type path struct {
	name string
	url  string
	pids []int
}

// round is one run of wrk over one path.
type round struct {
	Path    string  `json:"path"`
	RPS     float64 `json:"rps"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	CPU     float64 `json:"cpu_us_per_request"` // of the hop; of the upstream on the direct path
	Foreign float64 `json:"foreign_share"`
	Errors  int     `json:"errors"`
	Counts  bool    `json:"counts"`
}

const script = `wrk.method="POST"
wrk.body='` + callBody + `'
%s
done=function(s,l,r) io.write(string.format("RES %%f %%f %%f %%d %%d\n", s.requests/(s.duration/1e6), l:percentile(50), l:percentile(99), s.errors.status+s.errors.connect+s.errors.read+s.errors.write+s.errors.timeout, s.requests)) end
`

// load takes the interleaved rounds, each time in another order.
func (r *rig) load(ctx context.Context) (*figures, error) {
	lua := filepath.Join(r.dir, "post.lua")
	var heads strings.Builder
	for k, v := range callHeaders(r.key) {
		fmt.Fprintf(&heads, "wrk.headers[%q]=%q\n", k, v)
	}
	if err := os.WriteFile(lua, fmt.Appendf(nil, script, heads.String()), 0o600); err != nil {
		return nil, err
	}
	paths := []path{
		{"direct", r.direct, []int{r.upstream.cmd.Process.Pid}},
		{"nginx", r.nginx, r.nginxPIDs},
		{"hopgate", r.hopgate, []int{r.proxy.cmd.Process.Pid}},
	}
	for _, p := range paths { // warm up
		if _, err := r.wrk(ctx, lua, p, time.Second); err != nil {
			return nil, err
		}
	}
	f := &figures{Machine: machine(), Time: time.Now().UTC().Format(time.RFC3339), Connections: r.o.connections}
	before := r.allocs(ctx)
	requests := 0.0
	for range r.o.rounds {
		rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, p := range paths {
			res, err := r.wrk(ctx, lua, p, r.o.length)
			if err != nil {
				return nil, err
			}
			res.Counts = res.Foreign <= r.o.noise && res.Errors == 0
			if p.name == "hopgate" {
				requests += res.RPS * r.o.length.Seconds()
			}
			fmt.Fprintf(os.Stderr, "%-8s %7.0f req/s  p50 %6.0f us  p99 %6.0f us  cpu %5.1f us  foreign %4.1f %%  errors %d\n", res.Path, res.RPS, res.P50, res.P99, res.CPU, res.Foreign*100, res.Errors)
			f.Rounds = append(f.Rounds, *res)
		}
	}
	f.Allocs = (r.allocs(ctx) - before) / requests
	f.Spans = r.spans.spans.Load()
	f.summarise()
	return f, nil
}

func (r *rig) wrk(ctx context.Context, lua string, p path, length time.Duration) (*round, error) {
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(r.o.connections), "-d"+strconv.FormatFloat(length.Seconds(), 'f', 0, 64)+"s", "-s", lua, p.url)
	hop0, ours0, all0 := ticks(p.pids), ticks(r.pids()), machineTicks()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("wrk: %w", err)
	}
	hop, ours, all := ticks(p.pids)-hop0, ticks(r.pids())-ours0, machineTicks().sub(all0)
	ours += float64(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()) / float64(time.Second) * hertz
	res := &round{Path: p.name}
	var n int
	i := strings.Index(string(out), "RES ")
	if i < 0 {
		return nil, fmt.Errorf("wrk printed no figures: %s", out)
	}
	if _, err := fmt.Sscanf(string(out[i:]), "RES %f %f %f %d %d", &res.RPS, &res.P50, &res.P99, &res.Errors, &n); err != nil {
		return nil, fmt.Errorf("wrk: %w", err)
	}
	res.CPU = hop / hertz * 1e6 / float64(max(n, 1))
	res.Foreign = max(0, all.busy-ours) / all.total
	return res, nil
}

// pids are all processes of the rig and this one.
func (r *rig) pids() []int {
	out := append([]int{os.Getpid()}, r.nginxPIDs...)
	for _, p := range r.procs {
		if p.name != "nginx" {
			out = append(out, p.cmd.Process.Pid)
		}
	}
	return out
}

func sha256Hex(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}
