package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	upstreamAddr = "127.84.0.1:3300"
	mcpAddr      = "127.84.0.3:4000"
	adminAddr    = "127.84.0.3:4001"
	syncAddr     = "127.84.0.3:4002"
	proxyAdmin   = "127.84.0.3:4003"
)

// rig is everything that runs while figures are taken.
type rig struct {
	o     *options
	dir   string
	key   string
	procs []*exec.Cmd
	proxy int // pid of the data plane
}

func newRig(ctx context.Context, o *options, dir string) (*rig, error) {
	var b [24]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	r := &rig{o: o, dir: dir, key: "sk-" + hex.EncodeToString(b[:])}
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
	if _, err := r.launch(ctx, "upstream", self, "upstream", upstreamAddr); err != nil {
		return err
	}
	if err := poll(ctx, "upstream", func() error { return listens(ctx, upstreamAddr) }); err != nil {
		return err
	}
	if _, err := r.launch(ctx, "control", r.o.binary, "control", "--data-dir", filepath.Join(r.dir, "control"), "--admin", adminAddr, "--sync", syncAddr,
		"--log-format", "json"); err != nil {
		return err
	}
	if err := poll(ctx, "control", func() error { return ready(ctx, adminAddr) }); err != nil {
		return err
	}
	if r.proxy, err = r.launch(ctx, "proxy", r.o.binary, "proxy", "--control", syncAddr, "--node", "idle", "--region", "local", "--listen", mcpAddr,
		"--admin", proxyAdmin, "--state-dir", filepath.Join(r.dir, "proxy"), "--log-format", "json", "--drain-delay", "0s"); err != nil {
		return err
	}
	if err := poll(ctx, "proxy", func() error { return ready(ctx, mcpAddr) }); err != nil {
		return err
	}
	return r.apply(ctx)
}

func (r *rig) launch(ctx context.Context, name, path string, args ...string) (pid int, err error) {
	out, err := os.Create(filepath.Join(r.dir, name+".log"))
	if err != nil {
		return 0, err
	}
	defer out.Close() //nolint:errcheck // the child holds its own
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), "HOPGATE_MASTER_KEY="+r.key)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", name, err)
	}
	r.procs = append(r.procs, cmd)
	return cmd.Process.Pid, nil
}

const objects = `kind: Server
name: quiet
spec: {endpoints: [{url: "http://%s/mcp"}]}
---
kind: ApiKey
name: idle
spec: {sha256: "%s", servers: ["*"]}
---
kind: Settings
name: default
spec: {limits: {streams_per_principal: %d}}
`

func (r *rig) apply(ctx context.Context) error {
	file, sum := filepath.Join(r.dir, "objects.yaml"), sha256.Sum256([]byte(r.key))
	if err := os.WriteFile(file, fmt.Appendf(nil, objects, upstreamAddr, hex.EncodeToString(sum[:]), r.o.streams), 0o600); err != nil {
		return err
	}
	apply := exec.CommandContext(ctx, r.o.binary, "apply", "--api", "http://"+adminAddr, "--api-key", r.key, "-f", file, "--wait")
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("apply: %w: %s", err, out)
	}
	return nil
}

func listens(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		c.Close()
	}
	return err
}

func ready(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", addr, res.StatusCode)
	}
	return nil
}

// poll tries until it succeeds, for 20 s at most.
func poll(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-tick.C:
		}
	}
}

// stop ends the processes, the last one started first.
func (r *rig) stop() {
	for i := len(r.procs) - 1; i >= 0; i-- {
		r.procs[i].Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	}
	for _, p := range r.procs {
		late := time.AfterFunc(10*time.Second, func() { p.Process.Kill() }) //nolint:errcheck // it may have ended
		var exit *exec.ExitError
		if err := p.Wait(); err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, "idle:", p.Path, err)
		}
		late.Stop()
	}
}
