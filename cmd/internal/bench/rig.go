package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rig is everything that runs while figures are taken, each process on a loopback address of its own.
type rig struct {
	o     *options
	dir   string
	key   string
	procs []*proc
	// URLs of the same tools/call on each path.
	direct, nginx, hopgate string
	events, eventsNginx    string
	eventsHopgate          string
	nginxPIDs              []int
	upstream               *proc
	spans                  *collector
	gate, before           gate
}

// gate is a hopgate of one binary: a control plane and a proxy.
type gate struct {
	name, binary string
	host         string // a loopback address of its own
	control      *proc
	proxy        *proc
}

func (g *gate) mcp() string   { return g.host + ":4000" }
func (g *gate) admin() string { return g.host + ":4001" }
func (g *gate) sync() string  { return g.host + ":4002" }

// metrics is the admin listener of the proxy.
func (g *gate) metrics() string { return g.host + ":4003" }

const (
	upstreamAddr = "127.82.0.1:3300"
	nginxAddr    = "127.82.0.2:3301"
	gateHost     = "127.82.0.3"
	beforeHost   = "127.82.0.5"
)

func newRig(ctx context.Context, o *options, dir string) (*rig, error) {
	for _, tool := range []string{"wrk", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: install it (Debian: apt-get install %s)", err, tool)
		}
	}
	var b [24]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	r := &rig{o: o, dir: dir, key: "sk-" + hex.EncodeToString(b[:]),
		gate: gate{name: "hopgate", binary: o.binary, host: gateHost}, before: gate{name: "before", binary: o.before, host: beforeHost}}
	r.direct, r.nginx, r.hopgate = "http://"+upstreamAddr+"/mcp", "http://"+nginxAddr+"/mcp", "http://"+r.gate.mcp()+"/fast/mcp"
	r.events, r.eventsNginx, r.eventsHopgate = "http://"+upstreamAddr+"/events", "http://"+nginxAddr+"/events", "http://"+r.gate.mcp()+"/events/mcp"
	if err := r.start(ctx); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *rig) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if r.spans, err = newCollector(ctx); err != nil {
		return err
	}
	if r.upstream, err = r.launch(ctx, "upstream", nil, self, "upstream", upstreamAddr); err != nil {
		return err
	}
	if err := r.startNginx(ctx); err != nil {
		return err
	}
	if r.o.before != "" {
		if err := r.startGate(ctx, &r.before, objects); err != nil {
			return err
		}
	}
	return r.startGate(ctx, &r.gate, objects+manyObjects())
}

func (r *rig) launch(ctx context.Context, name string, env []string, path string, args ...string) (*proc, error) {
	out, err := os.Create(filepath.Join(r.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child holds its own
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &proc{name: name, cmd: cmd}
	r.procs = append(r.procs, p)
	return p, nil
}

const nginxConf = `worker_processes 1; daemon off; pid %[1]s/nginx.pid; error_log %[1]s/nginx-error.log;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 1000000;
  upstream fast { server %[3]s; keepalive 128; keepalive_requests 1000000; }
  server { listen %[2]s; location / { proxy_pass http://fast; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }
}
`

func (r *rig) startNginx(ctx context.Context) error {
	conf := filepath.Join(r.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, r.dir, nginxAddr, upstreamAddr), 0o600); err != nil {
		return err
	}
	p, err := r.launch(ctx, "nginx", nil, "nginx", "-c", conf, "-p", r.dir)
	if err != nil {
		return err
	}
	if err := r.waitFor(ctx, "nginx", nginxAddr); err != nil {
		return err
	}
	r.nginxPIDs = append(children(p.cmd.Process.Pid), p.cmd.Process.Pid)
	return nil
}

const objects = `kind: Server
name: fast
spec: {endpoints: [{url: "http://%[1]s/mcp"}]}
---
kind: Server
name: events
spec: {endpoints: [{url: "http://%[1]s/events"}]}
---
kind: ApiKey
name: bench
spec: {sha256: "%[2]s", servers: ["*"]}
---
kind: Settings
name: default
spec: {tracing: {sample_ratio: "0.01"}}
`

// startGate starts a hopgate with those objects, in which %[1]s is the upstream's address and %[2]s the digest of the key.
func (r *rig) startGate(ctx context.Context, g *gate, objects string) error {
	if err := r.startControl(ctx, g); err != nil {
		return err
	}
	if err := r.startProxy(ctx, g); err != nil {
		return err
	}
	file := filepath.Join(r.dir, g.name+".yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, objects, upstreamAddr, sha256Hex(r.key)), 0o600); err != nil {
		return err
	}
	apply := exec.CommandContext(ctx, g.binary, "apply", "--api", "http://"+g.admin(), "--api-key", r.key, "-f", file, "--wait")
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("apply: %w: %s", err, out)
	}
	return r.once(ctx, "http://"+g.mcp()+"/fast/mcp")
}

// env is what all processes of a hopgate are told.
func (r *rig) env() []string {
	return []string{"HOPGATE_MASTER_KEY=" + r.key, "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.spans.addr, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
}

func (r *rig) startControl(ctx context.Context, g *gate) (err error) {
	g.control, err = r.launch(ctx, g.name+"-control", r.env(), g.binary, "control", "--data-dir", filepath.Join(r.dir, g.name+"-control"), "--admin", g.admin(),
		"--sync", g.sync(), "--log-format", "json")
	if err != nil {
		return err
	}
	return r.waitReady(ctx, g.name+" control", "http://"+g.admin()+"/readyz")
}

func (r *rig) startProxy(ctx context.Context, g *gate) (err error) {
	g.proxy, err = r.launch(ctx, g.name+"-proxy", r.env(), g.binary, "proxy", "--control", g.sync(), "--node", "bench", "--region", "local", "--listen", g.mcp(),
		"--admin", g.metrics(), "--state-dir", filepath.Join(r.dir, g.name+"-proxy"), "--log-format", "json", "--drain-delay", "0s")
	if err != nil {
		return err
	}
	return r.waitReady(ctx, g.name+" proxy", "http://"+g.mcp()+"/readyz")
}

// once makes one call through the gateway and looks at the answer, so that rounds don't measure errors.
func (r *rig) once(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(callBody))
	if err != nil {
		return err
	}
	for k, v := range callHeaders(r.key) {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"text":"hello"`) {
		return fmt.Errorf("a call through the gateway answered %d %s (logs in %s)", res.StatusCode, body, r.dir)
	}
	return nil
}

const callBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}`

func callHeaders(key string) map[string]string {
	return map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25",
		"x-litellm-api-key": "Bearer " + key}
}

func (r *rig) waitFor(ctx context.Context, name, addr string) error {
	return poll(ctx, name+" on "+addr, func() error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (r *rig) waitReady(ctx context.Context, name, url string) error {
	return poll(ctx, name, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %d", url, res.StatusCode)
		}
		return nil
	})
}

func poll(ctx context.Context, what string, try func() error) error {
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s didn't come up: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// end ends the processes of one gate, which isn't used any more.
func (r *rig) end(g *gate) {
	mine := func(p *proc) bool { return p == g.control || p == g.proxy }
	for i := len(r.procs) - 1; i >= 0; i-- {
		if mine(r.procs[i]) {
			r.procs[i].end()
		}
	}
	r.procs = slices.DeleteFunc(r.procs, mine)
}

func (r *rig) stop() {
	for i := len(r.procs) - 1; i >= 0; i-- {
		r.procs[i].end()
	}
	if r.spans != nil {
		r.spans.stop()
	}
}
