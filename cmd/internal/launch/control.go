package launch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/controlplane"
	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Control is a control plane's process.
type Control struct {
	// DataDir keeps the embedded store, the master key and the key-encryption key.
	DataDir string
	// Etcd are the members of an external cluster; nil: an embedded member in DataDir.
	Etcd *etcdstore.ClusterConfig
	// Home makes it the relay of a region, which follows other control planes; nil: it isn't one. Not with Etcd.
	Home *Home
	// KEKFile is the key-encryption key; empty: kek in DataDir, made when missing. Replicas on one cluster need the same one.
	KEKFile string
	// Admin and Sync are addresses; see controlplane.Config.
	Admin, Sync       string
	AdminTLS, SyncTLS *tls.Config
	// SyncNames make it give certificates to itself and to data planes that join: the host names and IP addresses they reach it under. Not with
	// SyncTLS or Home. SyncClientCA is a file with further authorities of data planes' certificates; empty: none.
	SyncNames    []string
	SyncClientCA string
	// MasterKey of the environment; empty: the one in DataDir, made when missing.
	MasterKey string
	// Replica is this process's name.
	Replica string
	Log     *slog.Logger

	now func() time.Time // clock of certificates; nil: time.Now
}

// Run serves until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	if err := c.Check(); err != nil {
		return err
	}
	return run(ctx, process.GroupConfig{Log: c.Log}, func(g *process.Group) error { return c.assemble(ctx, g) })
}

// Check refuses what can't be run, or not safely; it names the flag. Run checks too.
func (c *Control) Check() error {
	if c.AdminTLS == nil && !netrange.Loopback(c.Admin) {
		return fmt.Errorf("--admin %s: plaintext is only for loopback addresses; give --tls-cert and --tls-key", c.Admin)
	}
	if c.Sync == "" {
		return errors.New("--sync: give the address that data planes connect to")
	}
	if c.SyncNames != nil && c.SyncTLS != nil {
		return errors.New("--sync-identity auto: not with --sync-cert")
	}
	if c.SyncNames != nil && c.Home != nil && c.Home.TLS != nil {
		return errors.New("--sync-identity auto: a relay gets its certificates with --join-file then; leave out --cert, --key and --ca, or use files")
	}
	if c.SyncTLS == nil && c.SyncNames == nil && !netrange.Loopback(c.Sync) {
		return fmt.Errorf("--sync %s: plaintext is only for loopback addresses; give --sync-cert, --sync-key and --sync-client-ca", c.Sync)
	}
	if c.Home == nil {
		return nil
	}
	if c.Etcd != nil {
		return errors.New("--upstream: not with --etcd; a relay has no store of its own")
	}
	return c.Home.check(c.SyncNames != nil)
}

func (c *Control) assemble(ctx context.Context, g *process.Group) error {
	key, err := c.master()
	if err != nil {
		return err
	}
	tracing, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-controlplane", Instance: c.Replica, Log: c.Log})
	if err != nil {
		return err
	}
	g.Add("traces", tracing.Run)
	reg := registry()
	if err := c.enroll(ctx, g, reg); err != nil {
		return err
	}
	plane, err := c.build(reg, tracing.Provider(), process.AdminMux(process.AdminConfig{Metrics: reg}), key)
	if err != nil {
		return err
	}
	if err := plane.Boot(ctx); err != nil {
		return err
	}
	g.Add("control plane", plane.Run)
	c.Log.Info("control plane listens", "admin", plane.AdminAddr().String(), "sync", plane.SyncAddr().String(), "replica", c.Replica)
	key.tell(c.Log)
	return nil
}

func (c *Control) build(reg *prometheus.Registry, tracer trace.TracerProvider, pages http.Handler, key *master) (*controlplane.Plane, error) {
	kek, err := c.kek()
	if err != nil {
		return nil, err
	}
	s, err := c.store(kek, reg)
	if err != nil {
		return nil, err
	}
	cfg := controlplane.Config{Store: s, KEK: kek, Admin: c.Admin, AdminTLS: c.AdminTLS, AdminPages: pages, Sync: c.Sync, SyncTLS: c.SyncTLS,
		Compile: compile, MasterKey: key.hash(), Version: process.ThisBuild().Version, Replica: c.Replica, Log: c.Log, Registry: reg, Tracer: tracer}
	if c.SyncNames == nil {
		return controlplane.New(cfg)
	}
	issue := authority.Config{Store: s, KEK: kek, Names: c.SyncNames, Log: process.Component(c.Log, "authority"), Now: c.now}
	if c.SyncClientCA != "" {
		known, err := process.LoadAuthorities(c.SyncClientCA, c.Log)
		if err != nil {
			return nil, fmt.Errorf("--sync-client-ca: %w", err)
		}
		issue.ClientCAs = known.Pool
	}
	a, err := authority.New(issue)
	if err != nil {
		return nil, err
	}
	if c.Home != nil {
		if err := c.Home.sign(s, a); err != nil {
			return nil, err
		}
	}
	return controlplane.NewWith(cfg, a)
}

// enroll gets the certificates of a relay that has no files, and keeps them new.
func (c *Control) enroll(ctx context.Context, g *process.Group, reg *prometheus.Registry) error {
	if c.Home == nil || c.SyncNames == nil {
		return nil
	}
	kek, err := c.kek()
	if err != nil {
		return err
	}
	if err := c.Home.enroll(ctx, filepath.Join(c.DataDir, "identity"), kek, process.Component(c.Log, "enroll")); err != nil {
		return err
	}
	g.Add("certificate", c.Home.enroller.Run)
	tellEnd(reg, c.Home.enroller)
	return nil
}

// SyncNames are the names under which data planes surely reach a control plane: those that are given, the host of its address, and this machine.
func SyncNames(given []string, sync, hostname string) []string {
	names := slices.Clone(given)
	if host, _, err := net.SplitHostPort(sync); err == nil {
		if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
	}
	if hostname != "" {
		names = append(names, hostname)
	}
	names = append(names, "localhost", "127.0.0.1", "::1")
	slices.Sort(names)
	return slices.Compact(names)
}

// master is the key that opens the admin API.
func (c *Control) master() (*master, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	key, err := loadMaster(c.DataDir, c.MasterKey)
	if err != nil {
		return nil, err
	}
	return key, key.check("the admin API", c.Admin)
}

// kek is the key-encryption key; one in the data directory is made when missing. On a cluster that holds what another replica's key has sealed,
// such a one doesn't fit, and the start fails.
func (c *Control) kek() (*secret.KEK, error) {
	if c.KEKFile != "" {
		return secret.LoadKEK(c.KEKFile, false)
	}
	return secret.LoadKEK(filepath.Join(c.DataDir, "kek"), true)
}

func (c *Control) store(kek *secret.KEK, reg *prometheus.Registry) (controlplane.Store, error) {
	log := process.Component(c.Log, "store")
	if c.Home != nil {
		return c.Home.relay(filepath.Join(c.DataDir, "relay"), kek, reg, process.Component(c.Log, "relay"))
	}
	if c.Etcd == nil {
		return etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: filepath.Join(c.DataDir, "etcd"), Log: log})
	}
	cfg := *c.Etcd
	cfg.Log = log
	return etcdstore.Cluster(cfg)
}

// compile asks the data plane's own compiler about an object.
func compile(o confset.Object) []admit.Problem {
	var out []admit.Problem
	for _, r := range table.Check(o) {
		if r.Rejected {
			out = append(out, admit.Problem{Field: r.Field, Text: r.Text})
		}
	}
	return out
}
