// Command bench measures what one hop of Hopgate costs: interleaved rounds of the same load directly against a fast upstream, through nginx
// and through a hopgate proxy with key check, policy, metrics, access record and sampled traces on.
//
// It promises figures of the real binary steered by a real control plane, and says which rounds don't count because something else used the
// machine. It needs wrk and nginx (Debian). Run it with `make bench`.
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
	flag.IntVar(&o.rounds, "rounds", 7, "rounds per path")
	flag.DurationVar(&o.length, "length", 5*time.Second, "length of one round")
	flag.IntVar(&o.connections, "connections", 32, "connections of wrk")
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
	rounds      int
	length      time.Duration
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
	fig, err := rig.load(ctx)
	if err != nil {
		return err
	}
	if fig.Stream, err = rig.streams(ctx); err != nil {
		return err
	}
	if fig.Propagation, err = rig.propagation(ctx); err != nil {
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
