package launch_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// control is a running control plane.
type control struct {
	*machine
	admin, sync string // host:port
	key         string
}

func startControl(t *testing.T, c launch.Control) *control {
	t.Helper()
	c, m := bootControl(t, c)
	found := m.says(t, m.log, `"msg":"control plane listens","admin":"([^"]+)","sync":"([^"]+)"`)
	key, err := operator.FindKey(c.MasterKey, c.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	return &control{machine: m, admin: found[1], sync: found[2], key: key}
}

func bootControl(t *testing.T, c launch.Control) (launch.Control, *machine) {
	t.Helper()
	if c.DataDir == "" {
		c.DataDir = t.TempDir()
	}
	if c.Admin == "" {
		c.Admin = "127.0.0.1:0"
	}
	if c.Sync == "" {
		c.Sync = "127.0.0.1:0"
	}
	c.Replica = "test"
	log := &paper{}
	c.Log = logger(log)
	return c, boot(t, c.Run, &paper{}, log)
}

// proxy is a running data plane.
type proxy struct {
	*machine
	mcp, admin string // URLs
}

func startProxy(t *testing.T, p launch.Proxy) *proxy {
	t.Helper()
	m := bootProxy(t, p)
	found := m.says(t, m.log, `"msg":"data plane listens","address":"([^"]+)","admin":"([^"]+)"`)
	scheme := "http://"
	if p.ListenTLS != nil {
		scheme = "https://"
	}
	return &proxy{machine: m, mcp: scheme + found[1], admin: "http://" + found[2]}
}

func bootProxy(t *testing.T, p launch.Proxy) *machine {
	t.Helper()
	if p.StateDir == "" {
		p.StateDir = t.TempDir()
	}
	if p.Listen == "" {
		p.Listen = "127.0.0.1:0"
	}
	if p.Node == "" {
		p.Node = "eu-1"
	}
	if p.Region == "" {
		p.Region = "eu"
	}
	p.Admin, p.DrainTimeout = "127.0.0.1:0", 10*time.Second
	log := &paper{}
	p.Log, p.Access, p.AccessFormat = logger(log), log, "json"
	return boot(t, p.Run, &paper{}, log)
}

// apply writes one server and one key, and waits until n data planes serve them.
func (c *control) apply(t *testing.T, trust *tls.Config, url string, n int) (key string) {
	t.Helper()
	api := "http://" + c.admin
	if trust != nil {
		api = "https://" + c.admin
	}
	client, err := operator.Connect(operator.Access{API: api, Key: c.key, TLS: trust})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	until(t, "the data planes are connected", func() bool {
		fleet, err := client.ListNodes(t.Context(), &adminv1.ListRequest{})
		return err == nil && len(fleet.GetNodes()) == n && fleet.GetNodes()[0].GetConnected()
	})
	file := filepath.Join(t.TempDir(), "one.yaml")
	write(t, file, server("one", url))
	docs, err := operator.Documents([]string{file}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := operator.Apply{Documents: docs, Wait: patience}
	if _, err := a.Run(t.Context(), client, &paper{}); err != nil {
		t.Fatal(err)
	}
	secret, err := (&operator.NewKey{Name: "caller", Servers: []string{"one"}}).Create(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal()
}

func TestControlAndProxyOnLoopback(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	c := startControl(t, launch.Control{})
	p := startProxy(t, launch.Proxy{Control: []string{c.sync}})
	key := c.apply(t, nil, upstream.URL, 1)
	until(t, "the new key is taken", func() bool { status, _, _ := tools(t, p.mcp, "one", key); return status == http.StatusOK })
	if status, _, _ := tools(t, p.mcp, "one", c.key); status != http.StatusUnauthorized {
		t.Errorf("the master key opens a data plane of its own process only; status %d", status)
	}
	for _, page := range []string{"/healthz", "/readyz", "/metrics", "/debug/requests", "/debug/pprof/"} {
		r, err := http.NewRequest(http.MethodGet, p.admin+page, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := do(t, r); status != http.StatusOK {
			t.Errorf("%s: %d %s", page, status, body)
		}
	}
	if strings.Contains(c.log.String(), c.key) || strings.Contains(p.log.String(), key) {
		t.Error("a key is in the log")
	}
	if err := p.end(t); err != nil {
		t.Errorf("the data plane ended with %v", err)
	}
	if err := c.end(t); err != nil {
		t.Errorf("the control plane ended with %v", err)
	}
}

func TestAProxyServesFromDiskWithoutControl(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	c := startControl(t, launch.Control{})
	state := t.TempDir()
	p := startProxy(t, launch.Proxy{Control: []string{c.sync}, StateDir: state})
	key := c.apply(t, nil, upstream.URL, 1)
	until(t, "the new key is taken", func() bool { status, _, _ := tools(t, p.mcp, "one", key); return status == http.StatusOK })
	for _, m := range []*machine{p.machine, c.machine} {
		if err := m.end(t); err != nil {
			t.Fatal(err)
		}
	}
	p = startProxy(t, launch.Proxy{Control: []string{c.sync}, StateDir: state})
	if status, fault, _ := tools(t, p.mcp, "one", key); status != http.StatusOK {
		t.Errorf("without a control plane: %d %s", status, fault)
	}
	r, err := http.NewRequest(http.MethodGet, p.mcp+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := do(t, r); status != http.StatusOK || !strings.Contains(body, `"stale":true`) {
		t.Errorf("readyz: %d %s", status, body)
	}
}

// mutual runs a control plane and a data plane on the certificates of dir, as the handbook names them.
func mutual(t *testing.T, dir string) {
	t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	log := logger(&paper{})
	serving, err := launch.ServerTLS(file("control.pem"), file("control.key"), file("ca.pem"), log)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := launch.ServerTLS(file("control.pem"), file("control.key"), "", log)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := launch.ClientTLS(file("ca.pem"), file("eu-1.pem"), file("eu-1.key"), log)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := launch.ClientTLS(file("ca.pem"), "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	upstream := mcptest.Start(t, mcptest.Stateless())
	c := startControl(t, launch.Control{Sync: "0.0.0.0:0", SyncTLS: serving, AdminTLS: admin})
	sync := strings.Replace(c.sync, "[::]", "127.0.0.1", 1)
	sync = strings.Replace(sync, "0.0.0.0", "127.0.0.1", 1)

	p := startProxy(t, launch.Proxy{Control: []string{sync}, ControlTLS: identity})
	key := c.apply(t, trust, upstream.URL, 1)
	until(t, "the new key is taken", func() bool { status, _, _ := tools(t, p.mcp, "one", key); return status == http.StatusOK })

	liar := startProxy(t, launch.Proxy{Control: []string{sync}, ControlTLS: identity, Node: "eu-2"})
	liar.says(t, liar.log, `the hello says node .{0,4}eu-2.{0,4} in region .{0,4}eu.*the certificate says node .{0,4}eu-1`)
	stranger := startProxy(t, launch.Proxy{Control: []string{sync}, ControlTLS: trust, Node: "eu-3"})
	stranger.says(t, stranger.log, `"level":"WARN","msg":"control plane`) // TLS 1.3: the refusal may overtake its own reason
	if status, _, body := tools(t, stranger.mcp, "one", key); status != http.StatusServiceUnavailable && status != http.StatusUnauthorized {
		t.Errorf("a data plane without a certificate serves: %d %s", status, body)
	}
}

func TestMutualTLS(t *testing.T) { mutual(t, certificates(t)) }

func TestClientsOverTLS(t *testing.T) {
	dir := certificates(t)
	serving, err := launch.ServerTLS(filepath.Join(dir, "control.pem"), filepath.Join(dir, "control.key"), "", logger(&paper{}))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := launch.ClientTLS(filepath.Join(dir, "ca.pem"), "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, launch.Proxy{Control: []string{"127.0.0.1:9"}, ListenTLS: serving})
	for _, h2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: h2}
		res, err := (&http.Client{Transport: transport}).Get(p.mcp + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if res.StatusCode != http.StatusOK || (res.ProtoMajor == 2) != h2 {
			t.Errorf("HTTP/2 %t: %s %s", h2, res.Proto, res.Status)
		}
	}
}

func TestPlaintextStaysOnLoopback(t *testing.T) {
	for name, c := range map[string]struct {
		control launch.Control
		want    []string
	}{
		"admin":             {launch.Control{Admin: "0.0.0.0:0"}, []string{"--admin 0.0.0.0:0", "--tls-cert", "plaintext"}},
		"sync":              {launch.Control{Sync: "0.0.0.0:0"}, []string{"--sync 0.0.0.0:0", "--sync-cert", "--sync-client-ca"}},
		"short key":         {launch.Control{Admin: "0.0.0.0:0", AdminTLS: &tls.Config{MinVersion: tls.VersionTLS12}, MasterKey: "sk-1234"}, []string{"HOPGATE_MASTER_KEY", "the admin API on 0.0.0.0:0"}},
		"no such key file":  {launch.Control{KEKFile: filepath.Join(t.TempDir(), "kek")}, []string{"kek", "doesn't exist"}},
		"a sync of nowhere": {launch.Control{Sync: "nowhere"}, []string{"--sync nowhere"}},
	} {
		t.Run("control: "+name, func(t *testing.T) { refused(t, second(bootControl(t, c.control)), c.want) })
	}
	for name, p := range map[string]struct {
		proxy launch.Proxy
		want  []string
	}{
		"far control plane": {launch.Proxy{Control: []string{"127.0.0.1:1", "control.example.com:4002"}}, []string{"--control control.example.com:4002", "plaintext", "--cert"}},
		"no control plane":  {launch.Proxy{}, []string{"--control"}},
		"no port":           {launch.Proxy{Control: []string{"127.0.0.1"}}, []string{"--control 127.0.0.1", "host:port"}},
		"no region":         {launch.Proxy{Control: []string{"127.0.0.1:1"}, Region: "EU/West"}, []string{`--region "EU/West"`}},
		"no group":          {launch.Proxy{Control: []string{"127.0.0.1:1"}, Group: "a b"}, []string{`--group "a b"`}},
	} {
		t.Run("proxy: "+name, func(t *testing.T) { refused(t, bootProxy(t, p.proxy), p.want) })
	}
}

func second[A, B any](_ A, b B) B { return b }

func refused(t *testing.T, m *machine, want []string) {
	t.Helper()
	err := m.wait(t)
	if err == nil {
		t.Fatal("it ran")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestFilesOfTLS(t *testing.T) {
	dir := certificates(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := logger(&paper{})
	for name, c := range map[string]struct {
		make func() (*tls.Config, error)
		want string
	}{
		"certificate without key":   {func() (*tls.Config, error) { return launch.ServerTLS(file("control.pem"), "", "", log) }, "a certificate and its key go together"},
		"key without certificate":   {func() (*tls.Config, error) { return launch.ClientTLS("", "", file("eu-1.key"), nil) }, "a certificate and its key go together"},
		"clients' CA alone":         {func() (*tls.Config, error) { return launch.ServerTLS("", "", file("ca.pem"), log) }, "without a certificate of our own"},
		"CA that holds none":        {func() (*tls.Config, error) { return launch.ClientTLS(file("empty.pem"), "", "", nil) }, "empty.pem holds no PEM certificate"},
		"CA that isn't there":       {func() (*tls.Config, error) { return launch.ClientTLS(file("none.pem"), "", "", nil) }, "none.pem"},
		"key of another":            {func() (*tls.Config, error) { return launch.ServerTLS(file("control.pem"), file("eu-1.key"), "", log) }, "private key does not match"},
		"certificate that is a key": {func() (*tls.Config, error) { return launch.ServerTLS(file("eu-1.key"), file("eu-1.key"), "", log) }, "eu-1.key"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := c.make()
			if err == nil || !strings.Contains(err.Error(), c.want) || cfg != nil {
				t.Errorf("got %v, %v; want an error that says %q", cfg, err, c.want)
			}
		})
	}
	if cfg, err := launch.ServerTLS("", "", "", log); cfg != nil || err != nil {
		t.Errorf("without files: %v, %v", cfg, err)
	}
}
