// Package launch starts whole processes out of the planes: a control plane, a data plane, or both in one with a demo server.
//
// It promises that everything a process needs on disk is made with the right modes on first start and found again on the next, and that a
// process ends in the opposite order of its start, also when a part of it can't be started. It refuses combinations that would be unsafe,
// naming the flag.
package launch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

// run runs the parts that assemble adds until ctx ends. When a part can't be made, those added before it are ended in order.
func run(ctx context.Context, cfg process.GroupConfig, assemble func(*process.Group) error) error {
	g, err := process.NewGroup(cfg)
	if err != nil {
		return err
	}
	if err := assemble(g); err != nil {
		over, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, g.Run(over))
	}
	return g.Run(ctx)
}

// registry is the metrics registry of one process.
func registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// baseURL is how a person on this machine reaches an address.
func baseURL(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip, bad := netip.ParseAddr(host); err == nil && bad == nil && (ip.IsUnspecified() || ip.Unmap().String() == "127.0.0.1") {
		return "http://localhost:" + port
	}
	return "http://" + strings.TrimSuffix(addr, ":80")
}
