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

// path is one load: the same request again and again, over one way to the upstream.
type path struct {
	name   string
	url    string
	script string // of wrk
	pids   []int  // the hop; on the direct path the upstream
	gate   *gate  // whose allocations are counted; nil: nobody's
	// connections, 0: as many as the options say.
	connections int
	// beside runs something beside the rounds until stop is called; nil: nothing.
	beside func(ctx context.Context) (stop func())
}

// round is one run of wrk over one path.
type round struct {
	Path    string  `json:"path"`
	RPS     float64 `json:"rps"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	CPU     float64 `json:"cpu_us_per_request"` // of the hop; of the upstream on the direct path
	Allocs  float64 `json:"allocs_per_request,omitempty"`
	Foreign float64 `json:"foreign_share"`
	Errors  int     `json:"errors"`
	Counts  bool    `json:"counts"`
}

const script = `wrk.method="POST"
wrk.body='%s'
%s
done=function(s,l,r) io.write(string.format("RES %%f %%f %%f %%d %%d\n", s.requests/(s.duration/1e6), l:percentile(50), l:percentile(99), s.errors.status+s.errors.connect+s.errors.read+s.errors.write+s.errors.timeout, s.requests)) end
`

// post makes a path of a request with our key, within a session if there is one.
func (r *rig) post(name, url string, g *gate, body, session string) (path, error) {
	p := path{name: name, url: url, gate: g, script: filepath.Join(r.dir, strings.ReplaceAll(name, " ", "-")+".lua")}
	if g != nil {
		p.pids = []int{g.proxy.cmd.Process.Pid}
	}
	heads := callHeaders(r.key)
	if session != "" {
		heads["Mcp-Session-Id"] = session
	}
	var lines strings.Builder
	for k, v := range heads {
		fmt.Fprintf(&lines, "wrk.headers[%q]=%q\n", k, v)
	}
	return p, os.WriteFile(p.script, fmt.Appendf(nil, script, body, lines.String()), 0o600)
}

// load measures one hop beside none and beside nginx.
func (r *rig) load(ctx context.Context) (*figures, error) {
	direct, err := r.post("direct", r.direct, nil, callBody, "")
	if err != nil {
		return nil, err
	}
	nginx, ours := direct, direct
	direct.pids = []int{r.upstream.cmd.Process.Pid}
	nginx.name, nginx.url, nginx.pids = "nginx", r.nginx, r.nginxPIDs
	ours.name, ours.url, ours.gate, ours.pids = "hopgate", r.hopgate, &r.gate, []int{r.gate.proxy.cmd.Process.Pid}
	paths := []path{direct, nginx, ours}
	if r.o.before != "" {
		old := ours
		old.name, old.url, old.gate, old.pids = "before", "http://"+r.before.mcp()+"/fast/mcp", &r.before, []int{r.before.proxy.cmd.Process.Pid}
		paths = append(paths, old)
	}
	f := &figures{Machine: machine(), Time: time.Now().UTC().Format(time.RFC3339), Connections: r.o.connections}
	if f.Rounds, err = r.interleave(ctx, paths); err != nil {
		return nil, err
	}
	if r.o.before != "" {
		at := side{gate: &r.before, at: "/fast/mcp", body: callBody}
		now := at
		now.gate = &r.gate
		beside, err := r.pairUp(ctx, "before", r.o.pairs, at, now)
		if err != nil {
			return nil, err
		}
		f.BesideBefore = &beside
	}
	f.Spans = r.spans.spans.Load()
	f.summarise()
	return f, nil
}

// interleave takes the rounds of several paths, each time in another order.
func (r *rig) interleave(ctx context.Context, paths []path) (out []round, err error) {
	for _, p := range paths { // warm up
		if _, err := r.wrk(ctx, p, time.Second); err != nil {
			return nil, err
		}
	}
	for range r.o.rounds {
		rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, p := range paths {
			res, err := r.wrk(ctx, p, r.o.length)
			if err != nil {
				return nil, err
			}
			res.Counts = res.Foreign <= r.o.noise && res.Errors == 0
			fmt.Fprintf(os.Stderr, "%-24s %7.0f req/s  p50 %6.0f us  p99 %6.0f us  cpu %5.1f us  %5.1f allocations  foreign %4.1f %%  errors %d\n",
				res.Path, res.RPS, res.P50, res.P99, res.CPU, res.Allocs, res.Foreign*100, res.Errors)
			out = append(out, *res)
		}
	}
	return out, nil
}

func (r *rig) wrk(ctx context.Context, p path, length time.Duration) (*round, error) {
	connections := p.connections
	if connections == 0 {
		connections = r.o.connections
	}
	if p.beside != nil {
		defer p.beside(ctx)()
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.FormatFloat(length.Seconds(), 'f', 0, 64)+"s", "-s", p.script, p.url)
	hop0, ours0, all0, allocs0 := ticks(p.pids), ticks(r.pids()), machineTicks(), allocs(ctx, p.gate)
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
	requests := float64(max(n, 1))
	res.CPU = hop / hertz * 1e6 / requests
	res.Allocs = (allocs(ctx, p.gate) - allocs0) / requests
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
