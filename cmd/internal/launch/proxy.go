package launch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/dataplane"
	"github.com/hopgate/hopgate/dataplane/enroll"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/jointoken"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/rules"
)

// Proxy is a data plane's process.
type Proxy struct {
	Node, Region, Group string
	// Control are addresses of control planes. ControlTLS nil is plaintext, only to loopback.
	Control    []string
	ControlTLS *tls.Config
	// Join is a token with which it gets a certificate when StateDir has none; zero: the one there is used, if ControlTLS is nil. Region and
	// Group are then those of the certificate, and may be empty.
	Join jointoken.Token
	// Listen is for clients, Admin for metrics and debug pages.
	Listen, Admin string
	ListenTLS     *tls.Config
	// Advertise is where the other data planes reach Listen; empty: found from Listen, if that is one plaintext address off loopback. PeerTLS is for https.
	Advertise     string
	PeerTLS       *tls.Config
	PublicOrigins []string
	StateDir      string
	DrainDelay    time.Duration
	DrainTimeout  time.Duration
	// AccessFormat is human, json or off; Access gets the lines.
	AccessFormat string
	Access       io.Writer
	Log          *slog.Logger

	enroller *enroll.Enroller // nil: the certificate is in files, or none is used
	now      func() time.Time // clock of the certificate; nil: time.Now
}

// Run serves until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	if err := p.Check(); err != nil {
		return err
	}
	if err := p.enroll(ctx); err != nil {
		return err
	}
	cfg := process.GroupConfig{Log: p.Log, Deadline: p.DrainDelay + p.DrainTimeout + 15*time.Second}
	return run(ctx, cfg, func(g *process.Group) error { return p.assemble(ctx, g) })
}

// Check refuses what can't be run, or not safely; it names the flag. Run checks too.
func (p *Proxy) Check() error {
	if len(p.Control) == 0 {
		return errors.New("--control: name at least one control plane")
	}
	for _, a := range p.Control {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("--control %s: give host:port", a)
		}
		if p.ControlTLS == nil && !p.enrolls() && !netrange.Loopback(a) {
			return fmt.Errorf("--control %s: plaintext is only for loopback addresses; give --join-file with a join token, or --cert, --key and --ca", a)
		}
	}
	if p.Node == "" {
		return errors.New("--node: name this data plane, unique in the fleet")
	}
	if p.ControlTLS != nil && !p.Join.Zero() {
		return errors.New("--join: not with --cert, --key and --ca; give one of both")
	}
	if p.enrolls() && p.Region == "" && p.Group == "" {
		return nil
	}
	if err := checkPlace("--region", p.Region); err != nil {
		return err
	}
	if p.Group == "" {
		return nil
	}
	return checkPlace("--group", p.Group)
}

// checkPlace checks the name of a region or group, which a control plane would refuse again and again.
func checkPlace(flag, name string) error {
	if vs := rules.Region(name); len(vs) > 0 {
		return fmt.Errorf("%s %q is not a name: %s", flag, name, vs[0].Fix)
	}
	return nil
}

// enrolls says whether its certificate comes from a control plane.
func (p *Proxy) enrolls() bool {
	return p.ControlTLS == nil && (!p.Join.Zero() || enroll.Stored(p.StateDir))
}

// enroll gets the certificate, and learns from it where the data plane stands.
func (p *Proxy) enroll(ctx context.Context) (err error) {
	if !p.enrolls() {
		return nil
	}
	e, err := enroll.New(enroll.Config{Node: p.Node, Dir: p.StateDir, Addresses: p.Control, Token: p.Join, Log: process.Component(p.Log, "enroll"), Now: p.now})
	if err != nil {
		return err
	}
	if err := e.Start(ctx); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	for _, place := range []struct{ flag, given, is string }{{"--region", p.Region, e.Region()}, {"--group", p.Group, e.Group()}} {
		if place.given != "" && place.given != place.is {
			return fmt.Errorf("%s %s: the certificate of this data plane says %q; leave the flag out, or join with another token and another --state-dir", place.flag, place.given, place.is)
		}
	}
	p.Region, p.Group, p.enroller = e.Region(), e.Group(), e
	return nil
}

func (p *Proxy) assemble(ctx context.Context, g *process.Group) error {
	tracing, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-dataplane", Instance: p.Node, Region: p.Region, IDs: telemetry.IDGenerator{}, Log: p.Log})
	if err != nil {
		return err
	}
	g.Add("traces", tracing.Run)
	if p.enroller != nil {
		g.Add("certificate", p.enroller.Run)
	}
	reg := registry()
	tellEnd(reg, p.enroller)
	plane, err := dataplane.New(dataplane.Config{Node: p.Node, Region: p.Region, Group: p.Group, Version: process.ThisBuild().Version, Listen: p.Listen, TLS: p.ListenTLS,
		Advertise: advertised(p.Advertise, p.Listen, p.ListenTLS != nil), PeerTLS: p.PeerTLS,
		PublicOrigins: p.PublicOrigins, Control: p.Control, Dial: p.dial, StateDir: p.StateDir, DrainDelay: p.DrainDelay, DrainTimeout: p.DrainTimeout,
		Access: p.Access, AccessFormat: p.AccessFormat, Log: p.Log, Registry: reg, Tracer: tracing.Provider()})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	admin, err := lc.Listen(ctx, "tcp", p.Admin)
	if err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	pages := process.AdminMux(process.AdminConfig{Metrics: reg, Requests: http.HandlerFunc(plane.Telemetry().ServeRequests), Ready: readiness(plane)})
	g.Add("admin pages", func(ctx context.Context) error { return process.Serve(ctx, admin, pages, p.Log) })
	if err := plane.Boot(ctx); err != nil {
		return err
	}
	g.Add("data plane", plane.Run)
	p.Log.Info("data plane listens", "address", plane.Addr().String(), "admin", admin.Addr().String(), "node", p.Node, "region", p.Region, "control", p.Control)
	return nil
}

// advertised is where other data planes reach this one. Without an address of its own, as on all interfaces, or with TLS, whose names only the
// operator knows, nobody can tell. A loopback address is another process on every host: callers' requests must not go there unless told to.
func advertised(given, listen string, secure bool) string {
	host, port, err := net.SplitHostPort(listen)
	if given != "" || err != nil || secure || port == "0" {
		return given
	}
	if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() || ip.Unmap().IsLoopback() || ip.IsLinkLocalUnicast() {
		return ""
	}
	return "http://" + listen
}

// tellEnd adds the metric that says when the certificate ends; nil: it is nobody's here.
func tellEnd(reg *prometheus.Registry, e *enroll.Enroller) {
	if e == nil {
		return
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hopgate_certificate_expire_time_seconds",
		Help: "When the certificate for control planes ends, in Unix time; it is renewed when a third of its life is left."},
		func() float64 { return float64(e.Expires().Unix()) }))
}

func (p *Proxy) dial(address string) (follow.Conn, error) {
	creds := insecure.NewCredentials()
	switch {
	case p.enroller != nil:
		creds = credentials.NewTLS(p.enroller.TLS())
	case p.ControlTLS != nil:
		creds = credentials.NewTLS(p.ControlTLS)
	}
	return grpc.NewClient("passthrough:///"+address, append(follow.DialOptions(), grpc.WithTransportCredentials(creds))...)
}

func readiness(p *dataplane.Plane) func() process.Readiness {
	return func() process.Readiness {
		r, ok := p.Ready()
		out := process.Readiness{Ready: ok, Draining: r.Status == "draining", Revision: r.Revision, Age: time.Duration(r.AgeSeconds) * time.Second, Stale: r.Stale}
		if !ok {
			out.Reason = r.Status
		}
		return out
	}
}
