//go:build e2e

package e2e

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// listening waits until something accepts connections on the address.
func listening(t *testing.T, r *running, addr string) {
	t.Helper()
	eventually(t, 20*time.Second, r.Name+" listens on "+addr, func() error {
		if !r.alive() {
			t.Fatalf("%s ended: %v\n%s", r.Name, r.state, tail(r.output(), 30))
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// npmEverything starts the npm reference server: stateful, up to 2025-11-25.
func npmEverything(t *testing.T) string {
	t.Helper()
	host := ownHost()
	r := start(t, program{Name: "server-everything", Env: []string{"PORT=3001", "BIND_HOST=" + host},
		Args: []string{node(t), "--require", script(t, "loopback.cjs"), npm(t, "@modelcontextprotocol", "server-everything", "dist", "index.js"), "streamableHttp"}})
	listening(t, r, host+":3001")
	return "http://" + host + ":3001/mcp"
}

// sdkEverything starts the Go SDK's conformance server: stateful (up to 2025-11-25) or stateless (2026-07-28 as well).
func sdkEverything(t *testing.T, stateless bool, addr string) string {
	t.Helper()
	name, flag := "sdk-stateful", "-stateless=false"
	if stateless {
		name, flag = "sdk-stateless", "-stateless=true"
	}
	r := start(t, program{Name: name, Args: []string{tool(t, "E2E_GOSDK", "everything-server"), "-http", addr, flag}})
	listening(t, r, addr)
	return "http://" + addr + "/"
}

// demoServer starts the built-in demo server as a process of its own.
func demoServer(t *testing.T, env ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, program{Name: "demo", Args: []string{self}, Env: append(env, serveDemoEnv+"=1"), Clean: true})
	url := ""
	eventually(t, shown, "the demo server says where it is", func() error {
		for line := range strings.Lines(r.output()) {
			if at, ok := strings.CutPrefix(line, "serving "); ok {
				url = strings.TrimSpace(at)
				return nil
			}
		}
		return errors.New(r.output())
	})
	return url
}
