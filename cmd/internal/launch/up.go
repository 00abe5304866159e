package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/cmd/internal/demo"
	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/controlplane"
	"github.com/hopgate/hopgate/dataplane"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Up is everything in one process: embedded store, control plane, one data plane.
type Up struct {
	DataDir string
	// Listen is for MCP clients, Admin for the admin API.
	Listen, Admin string
	Region        string
	// Files hold objects that are applied at start and on change; they belong to their file. A directory is one set of all its files.
	Files []string
	// Demo adds the built-in server and a key for it.
	Demo bool
	// Anonymous takes MCP callers without a key, on loopback only.
	Anonymous bool
	// PublicOrigins under which clients know the listener, RedirectOrigins (host, host:port or *.suffix) and NativeURIs where OAuth clients may
	// be sent back to: what holds as long as no Ingress says otherwise.
	PublicOrigins, RedirectOrigins, NativeURIs []string

	MasterKey    string
	DrainDelay   time.Duration
	DrainTimeout time.Duration
	AccessFormat string
	Access       io.Writer
	// Out gets what a person should read: how to call.
	Out io.Writer
	Log *slog.Logger
}

// localNode is the name of the one data plane.
const localNode = "local"

// one is the running process's parts.
type one struct {
	up      *Up
	key     *master
	control *controlplane.Plane
	data    *dataplane.Plane
	demo    *demo.Server
	demoKey string
}

// Run serves until ctx ends.
func (u *Up) Run(ctx context.Context) error {
	if err := u.Check(); err != nil {
		return err
	}
	cfg := process.GroupConfig{Log: u.Log, Deadline: u.DrainDelay + u.DrainTimeout + 20*time.Second}
	return run(ctx, cfg, func(g *process.Group) error { return (&one{up: u}).assemble(ctx, g) })
}

// Check refuses what can't be run, or not safely; it names the flag. Run checks too.
func (u *Up) Check() error {
	if !netrange.Loopback(u.Admin) {
		return fmt.Errorf("--admin %s: up serves the admin API in plaintext, on loopback only; to reach it from elsewhere run hopgate control with --tls-cert and --tls-key", u.Admin)
	}
	if u.Anonymous && !netrange.Loopback(u.Listen) {
		return fmt.Errorf("--anonymous: only with a loopback address, not with --listen %s", u.Listen)
	}
	if len(u.PublicOrigins) > 0 && u.Anonymous {
		return errors.New("--anonymous and a public origin (--public-origin, PROXY_BASE_URL) exclude each other: callers from outside need keys")
	}
	if len(u.RedirectOrigins)+len(u.NativeURIs) > 0 && u.Anonymous {
		return errors.New("--anonymous excludes MCP_TRUSTED_REDIRECT_ORIGINS and MCP_TRUSTED_NATIVE_REDIRECT_URIS: OAuth is for callers who are known; unset them")
	}
	return checkPlace("--region", u.Region)
}

// assemble builds and boots the parts and adds them in the order in which they lean on each other.
func (o *one) assemble(ctx context.Context, g *process.Group) error {
	u := o.up
	control, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-controlplane", Instance: "local", Region: u.Region, Log: u.Log})
	if err != nil {
		return err
	}
	g.Add("control plane traces", control.Run)
	data, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-dataplane", Instance: "local", Region: u.Region, IDs: telemetry.IDGenerator{}, Log: u.Log})
	if err != nil {
		return err
	}
	g.Add("data plane traces", data.Run)
	if err := o.build(control.Provider(), data.Provider()); err != nil {
		return err
	}
	if err := o.control.Boot(ctx); err != nil {
		return err
	}
	g.Add("control plane", o.control.Run)
	if u.Demo {
		if err := o.bootDemo(ctx, g); err != nil {
			return err
		}
	}
	if err := o.data.Boot(ctx); err != nil {
		return err
	}
	g.Add("data plane", o.data.Run)
	g.Add("welcome", o.welcome)
	return nil
}

func (o *one) build(control, data trace.TracerProvider) error {
	u := o.up
	c := Control{DataDir: u.DataDir, Admin: u.Admin, MasterKey: u.MasterKey, Replica: "local", Log: u.Log}
	var err error
	if o.key, err = c.master(); err != nil {
		return err
	}
	if err := o.key.check("the MCP listener", u.Listen); err != nil {
		return err
	}
	reg := registry()
	if o.data, err = o.newData(reg, data); err != nil {
		return err
	}
	pages := process.AdminMux(process.AdminConfig{Metrics: reg, Requests: http.HandlerFunc(o.data.Telemetry().ServeRequests)})
	o.control, err = c.build(reg, control, pages, o.key)
	return err
}

// newData is a data plane that follows the control plane of this process over a pipe; the master key opens it as well.
func (o *one) newData(reg *prometheus.Registry, tracer trace.TracerProvider) (*dataplane.Plane, error) {
	u := o.up
	key := &table.Principal{ID: "master", Name: "master", Hash: o.key.hash(), Grants: []*table.Grant{table.Everything}, Debug: true, TrustTrace: true}
	return dataplane.New(dataplane.Config{Node: localNode, Region: u.Region, Version: process.ThisBuild().Version, Listen: u.Listen,
		Advertise: advertised("", u.Listen, false), PublicOrigins: u.PublicOrigins, RedirectOrigins: u.RedirectOrigins, NativeURIs: u.NativeURIs,
		Control: []string{"local"}, Dial: o.dial, StateDir: filepath.Join(u.DataDir, "proxy"), Static: []*table.Principal{key}, Anonymous: u.Anonymous,
		DrainDelay: u.DrainDelay, DrainTimeout: u.DrainTimeout, Access: u.Access, AccessFormat: u.AccessFormat, Log: u.Log, Registry: reg, Tracer: tracer})
}

// dial reaches the control plane of this process once that takes streams, so that a start costs no refused attempt.
func (o *one) dial(string) (follow.Conn, error) {
	return grpc.NewClient("passthrough:///local", append(follow.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if err := o.control.WaitReady(ctx); err != nil {
				return nil, err
			}
			return o.control.Local(ctx)
		}))...)
}
