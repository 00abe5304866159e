// Command fanout measures what a change costs a control plane that has many data planes: a real `hopgate control` process with an embedded
// etcd, and from this process up to ten thousand sync streams over mutual TLS 1.3, each with a connection and a certificate of its own.
//
// Most of them speak the protocol as a data plane does and do its arithmetic: they check each body's hash, apply the delta and compare the
// digest, answer, report health, and come back with the same pacing when they lose the stream. Some are the data plane's own follower with a
// table and a state directory. It promises figures of the real binary, counted at the server where that is possible: a change has arrived
// when the control plane says that every data plane has answered. It refuses to count a run in which one stream was lost or resynced.
// Run it with `make bench`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	o := options{streams: counts{1000, 5000, 10000}, configs: names{"small", "large"}}
	flag.StringVar(&o.binary, "hopgate", "bin/hopgate", "binary under test")
	flag.Var(&o.streams, "streams", "how many streams, ascending, separated by commas")
	flag.Var(&o.configs, "configs", "small: 10 objects; large: 2,000 servers and 100,000 keys")
	flag.IntVar(&o.changes, "changes", 20, "one-object changes that are timed")
	flag.IntVar(&o.real, "real", 20, "how many of the streams are followers with a table (a quarter of that with the large config)")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long the idle fleet is watched")
	flag.DurationVar(&o.health, "health", 2*time.Minute, "how often a data plane reports health; 2m is what the real ones without traffic do")
	flag.BoolVar(&o.restart, "restart", true, "kill the control plane under the most streams and time their return")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of the control plane during changes to files of this prefix")
	flag.StringVar(&o.out, "out", "", "write the figures as JSON to this file (cmd/internal/fanout/baseline.json keeps the agreed ones)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

type options struct {
	binary  string
	streams counts
	configs names
	changes int
	real    int
	idle    time.Duration
	health  time.Duration
	restart bool
	profile string
	out     string
}

// most is the largest number of streams.
func (o *options) most() int { return o.streams[len(o.streams)-1] }

// counts is a flag of ascending numbers.
type counts []int

func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*c), " ", ","), "[]")
}

func (c *counts) Set(s string) error {
	*c = nil
	for word := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 60000 || len(*c) > 0 && n <= (*c)[len(*c)-1] {
			return fmt.Errorf("%q: give ascending numbers from 1 to 60000, separated by commas", s)
		}
		*c = append(*c, n)
	}
	return nil
}

// names is a flag of names of configs.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(s string) error {
	*n = strings.Split(s, ",")
	for _, name := range *n {
		if _, ok := configs[name]; !ok {
			return fmt.Errorf("%q: give small, large or both, separated by a comma", name)
		}
	}
	return nil
}

func run(ctx context.Context, o *options) error {
	if err := openFiles(o.most() + 500); err != nil {
		return err
	}
	// The memory of this process isn't measured, the CPU beside the control plane is scarce.
	debug.SetGCPercent(400)
	dir, err := os.MkdirTemp("", "hopgate-fanout-")
	if err != nil {
		return err
	}
	fig := &figures{Machine: machine(), Time: time.Now().UTC().Format(time.RFC3339)}
	for _, name := range o.configs {
		if err := measure(ctx, o, name, dir, fig); err != nil {
			return fmt.Errorf("%s config: %w (the control plane's log is in %s)", name, err, dir)
		}
	}
	fig.print(os.Stdout)
	if o.out != "" {
		if err := fig.write(o.out); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// openFiles lets this process and the one it starts open so many files.
func openFiles(n int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= uint64(n) {
		return nil
	}
	l.Cur, l.Max = uint64(n), max(l.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d open files are needed; raise the limit (ulimit -n): %w", n, err)
	}
	return nil
}
