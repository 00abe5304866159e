// Command bench measures what one hop of Hopgate costs: interleaved rounds of the same load directly against a fast upstream, through nginx
// and through a hopgate proxy with key check, policy, metrics, access record and sampled traces on; then what endpoints of several servers add
// to that, also while some of the servers fail, and whether a call to one server costs more the more servers, tools, toolsets, keys and open
// streams there are.
//
// It promises figures of the real binary steered by a real control plane, and says which rounds don't count because something else used the
// machine. Where two data planes are compared (growth, -before), both have the load at the same time, and the ratio of their CPU time is told with
// its 95 % interval: others on the machine make that wider, not wrong. It needs wrk and nginx (Debian). Run it with `make bench`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "upstream" {
		if err := serveUpstream(os.Args[2]); err != nil {
			fail(err)
		}
		return
	}
	var o options
	flag.StringVar(&o.binary, "hopgate", "bin/hopgate", "binary under test")
	flag.StringVar(&o.before, "before", "", "another binary to compare with: in the same rounds, and both under load at the same time")
	flag.StringVar(&o.only, "only", "", "measure just one part: hop, many, growth (four minutes)")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds per path")
	flag.DurationVar(&o.length, "length", 5*time.Second, "length of one round")
	flag.IntVar(&o.pairs, "pairs", 300,
		"slices per comparison of two hops under load at the same time (growth, -before); four times as many halve the interval")
	flag.DurationVar(&o.slice, "slice", 25*time.Millisecond, "length of one such slice; a collection in most of them would spoil the median")
	flag.IntVar(&o.connections, "connections", 32, "connections of wrk; in comparisons of two hops each has half")
	flag.Float64Var(&o.noise, "noise", 0.10, "share of the machine that others may use before a round doesn't count")
	flag.StringVar(&o.out, "out", "", "write the figures as JSON to this file (cmd/internal/bench/baseline.json keeps the agreed ones)")
	flag.BoolVar(&o.profile, "profile", false, "write proxy.pprof: a CPU profile of the proxy during one extra round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fail(err)
	}
}

type options struct {
	binary      string
	before      string
	only        string
	rounds      int
	length      time.Duration
	pairs       int
	slice       time.Duration
	connections int
	noise       float64
	out         string
	profile     bool
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func run(ctx context.Context, o *options) error {
	dir, err := os.MkdirTemp("", "hopgate-bench-")
	if err != nil {
		return err
	}
	if err := measure(ctx, o, dir); err != nil {
		return fmt.Errorf("%w (the processes' logs are in %s)", err, dir)
	}
	return os.RemoveAll(dir)
}

func measure(ctx context.Context, o *options, dir string) error {
	rig, err := newRig(ctx, o, dir)
	if err != nil {
		return err
	}
	defer rig.stop()
	fig, err := rig.figures(ctx)
	if err != nil {
		return err
	}
	fig.print(os.Stdout)
	if o.profile {
		if err := rig.profile(ctx, "proxy.pprof"); err != nil {
			return err
		}
	}
	if o.out == "" {
		return nil
	}
	return fig.write(o.out)
}

// figures takes all that were asked for.
func (r *rig) figures(ctx context.Context) (*figures, error) {
	fig := &figures{Machine: machine(), Time: time.Now().UTC().Format(time.RFC3339), Connections: r.o.connections}
	var err error
	if r.o.only == "" || r.o.only == "hop" {
		if fig, err = r.load(ctx); err != nil {
			return nil, err
		}
	}
	if r.o.only == "" || r.o.only == "many" {
		if fig.Many, err = r.many(ctx); err != nil {
			return nil, err
		}
	}
	if r.o.only == "growth" {
		fig.Growth, err = r.growth(ctx)
		return fig, err
	}
	if r.o.only != "" {
		return fig, nil
	}
	if fig.Stream, err = r.streams(ctx); err != nil {
		return nil, err
	}
	if fig.Propagation, err = r.propagation(ctx); err != nil {
		return nil, err
	}
	fig.Growth, err = r.growth(ctx) // last: its processes are large
	return fig, err
}
