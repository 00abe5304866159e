//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startNginx runs a real nginx with the given http block; DIR in it is its own directory. It returns when the address accepts connections.
func startNginx(t *testing.T, addr, block string) *running {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	conf := `daemon off; worker_processes 1; pid DIR/pid; error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
` + block + "\n}\n"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(conf, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, program{Name: "nginx", Args: []string{debian(t, "nginx"), "-p", dir, "-e", "stderr", "-c", file}, Dir: dir})
	listening(t, r, addr)
	return r
}
