package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

const (
	syncHost  = "127.83.0.1"
	syncAddr  = syncHost + ":4002"
	adminAddr = syncHost + ":4001"
)

// control is the control plane's process.
type control struct {
	binary, dir, key string
	files            pems
	cmd              *exec.Cmd
	api              *operator.Client
}

func newControl(o *options, ca *authority, dir string) (*control, error) {
	c := &control{binary: o.binary, dir: dir, key: "sk-" + rand.Text()}
	var err error
	if c.files, err = ca.server(dir); err != nil {
		return nil, err
	}
	c.api, err = operator.Connect(operator.Access{API: "http://" + adminAddr, Key: c.key})
	return c, err
}

// start starts the process and returns when it is ready.
func (c *control) start(ctx context.Context) error {
	out, err := os.OpenFile(filepath.Join(c.dir, "control.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the child holds its own
	c.cmd = exec.CommandContext(ctx, c.binary, "control", "--data-dir", filepath.Join(c.dir, "data"), "--admin", adminAddr, "--sync", syncAddr,
		"--sync-cert", c.files.cert, "--sync-key", c.files.key, "--sync-client-ca", c.files.ca, "--log-format", "json")
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Env = out, out, append(os.Environ(), "HOPGATE_MASTER_KEY="+c.key)
	if err := c.cmd.Start(); err != nil {
		return err
	}
	return c.ready(ctx)
}

func (c *control) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := c.get(ctx, "/readyz"); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the control plane isn't ready after a minute")
		}
	}
}

// get reads a page of the admin listener.
func (c *control) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAddr+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d", path, res.StatusCode)
	}
	return b, err
}

// inUse collects garbage and returns the bytes of heap and stacks that are in use then.
func (c *control) inUse(ctx context.Context) (sum float64, err error) {
	for range 2 { // pools let go of what they have with the second collection
		if _, err := c.get(ctx, "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	b, err := c.get(ctx, "/metrics")
	for line := range strings.Lines(string(b)) {
		for _, name := range []string{"go_memstats_heap_inuse_bytes ", "go_memstats_stack_inuse_bytes "} {
			if v, ok := strings.CutPrefix(line, name); ok {
				sum += number(strings.TrimSpace(v))
			}
		}
	}
	return sum, err
}

func (c *control) pid() int { return c.cmd.Process.Pid }

// kill ends the process as a crash would.
func (c *control) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	c.cmd.Wait() //nolint:errcheck // it was killed
	return nil
}

// stop ends it in order.
func (c *control) stop() {
	c.api.Close() //nolint:errcheck // nothing is under way
	if c.cmd == nil || c.cmd.ProcessState != nil {
		return
	}
	c.cmd.Process.Signal(syscall.SIGTERM)                                   //nolint:errcheck // it may have ended
	late := time.AfterFunc(20*time.Second, func() { c.cmd.Process.Kill() }) //nolint:errcheck // it may have ended by itself
	defer late.Stop()
	c.cmd.Wait() //nolint:errcheck // how it ended doesn't matter any more
}
