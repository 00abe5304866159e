// Command idle measures what open event streams cost a data plane that has nothing to say to them: nine thousand sessions of
// MCP 2025-11-25, each with its GET stream, through a real `hopgate proxy` steered by a real `hopgate control`, to an upstream in a process of
// its own that holds the other end of every stream.
//
// It promises figures of the data plane's process alone, taken after the streams were quiet for half a minute and a collection has run: what it
// has in RAM per stream with both legs (Rss and Pss of /proc/PID/smaps_rollup), where in it that lies (the heap profile by leg), goroutines,
// CPU of the keep-alive comments, and what a tools/call costs with the streams open compared with none. It refuses to count a run in
// which one stream was refused, ended or brought anything but comments, and ends by itself within three minutes. Linux only. Run it with
// `make bench`; baseline.json keeps the agreed figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// longest is how long a run may take in all.
const longest = 170 * time.Second

func main() {
	if len(os.Args) > 2 && os.Args[1] == "upstream" {
		if err := serveUpstream(os.Args[2]); err != nil {
			fail(err)
		}
		return
	}
	var o options
	flag.StringVar(&o.binary, "hopgate", "bin/hopgate", "binary under test")
	flag.IntVar(&o.streams, "streams", 9000, "how many streams; a data plane takes 10,000 connections")
	flag.DurationVar(&o.quiet, "quiet", 30*time.Second, "how long the streams are quiet before memory is read; CPU at idle is measured meanwhile")
	flag.IntVar(&o.callers, "callers", 16, "connections that call one after the other for the cost of a call; 0: that isn't measured")
	flag.IntVar(&o.rounds, "rounds", 4, "rounds of calls before, beside and after the streams")
	flag.DurationVar(&o.length, "length", 3*time.Second, "length of one round")
	flag.StringVar(&o.profile, "profile", "", "write the heap and goroutine profiles of the quiet data plane to files of this prefix")
	flag.StringVar(&o.out, "out", "", "write the figures as JSON to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, longest)
	err := run(ctx, &o)
	cancel()
	stop()
	if err != nil {
		fail(err)
	}
}

type options struct {
	binary  string
	streams int
	quiet   time.Duration
	callers int
	rounds  int
	length  time.Duration
	profile string
	out     string
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "idle:", err)
	os.Exit(1)
}

func run(ctx context.Context, o *options) error {
	if err := openFiles(2*o.streams + 500); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hopgate-idle-")
	if err != nil {
		return err
	}
	fig, err := measure(ctx, o, dir)
	if err != nil {
		return fmt.Errorf("%w (the processes' logs are in %s)", err, dir)
	}
	fig.print(os.Stdout)
	if o.out != "" {
		if err := fig.write(o.out); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// measure takes all figures, with everything that runs for them.
func measure(ctx context.Context, o *options, dir string) (*figures, error) {
	r, err := newRig(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	f := &figures{Machine: machine(), Time: time.Now().UTC().Format(time.RFC3339), Streams: o.streams}
	before, err := r.collected(ctx)
	if err != nil {
		return nil, err
	}
	if f.None, err = r.calls(ctx); err != nil {
		return nil, err
	}
	c, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := r.watch(ctx, f, before); err != nil {
		return nil, err
	}
	if f.Beside, err = r.calls(ctx); err != nil {
		return nil, err
	}
	now, err := r.resident()
	if err != nil {
		return nil, err
	}
	f.Worn = (now.rss - before.rss) / kib / float64(o.streams)
	if f.Comments, err = c.check(); err != nil {
		return nil, err
	}
	c.close()
	if err := r.emptied(ctx); err != nil {
		return nil, err
	}
	f.After, err = r.calls(ctx)
	return f, err
}

// watch waits until the streams were quiet for long enough and reads CPU and memory.
func (r *rig) watch(ctx context.Context, f *figures, before *memory) error {
	cpu0, began := cpu(r.proxy), time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.o.quiet):
	}
	f.Idle = 100 * float64(cpu(r.proxy)-cpu0) / float64(time.Since(began))
	now, err := r.collected(ctx)
	if err != nil {
		return err
	}
	f.compare(before, now)
	if r.o.profile == "" {
		return nil
	}
	return r.keepProfiles(ctx, r.o.profile)
}

// openFiles lets the processes that this one starts open so many files.
func openFiles(n int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur, l.Max = max(l.Cur, uint64(n)), max(l.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d open files are needed for both legs; raise the limit (ulimit -n): %w", n, err)
	}
	return nil
}
