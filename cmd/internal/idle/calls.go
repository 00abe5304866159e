package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// cost is what tools/call cost: medians of the rounds.
type cost struct {
	RPS     float64 `json:"rps"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	CPU     float64 `json:"cpu_us_per_call"` // of the data plane
	Objects float64 `json:"allocs_per_call"`
}

// calls measures tools/call in sessions of their own, a few connections that call one after the other. The first round only warms up.
func (r *rig) calls(ctx context.Context) (cost, error) {
	if r.o.callers == 0 {
		return cost{}, nil
	}
	callers := make([]*caller, r.o.callers)
	for i := range callers {
		conn, in, session, err := r.session(ctx)
		if err != nil {
			return cost{}, err
		}
		defer conn.Close() //nolint:errcheck // nothing is written any more
		callers[i] = &caller{conn: conn, in: in, request: r.request("POST", session, call)}
	}
	if _, err := r.round(ctx, callers, time.Second); err != nil {
		return cost{}, err
	}
	var rps, p50, p99, used, objects []float64
	for range r.o.rounds {
		c, err := r.round(ctx, callers, r.o.length)
		if err != nil {
			return cost{}, err
		}
		rps, p50, p99, used, objects = append(rps, c.RPS), append(p50, c.P50), append(p99, c.P99), append(used, c.CPU), append(objects, c.Objects)
	}
	return cost{RPS: median(rps), P50: median(p50), P99: median(p99), CPU: median(used), Objects: median(objects)}, nil
}

// round lets all callers call for a while.
func (r *rig) round(ctx context.Context, callers []*caller, length time.Duration) (*cost, error) {
	before, err := r.metrics(ctx)
	if err != nil {
		return nil, err
	}
	cpu0, until := cpu(r.proxy), time.Now().Add(length)
	var wg sync.WaitGroup
	for _, c := range callers {
		wg.Go(func() { c.run(until) })
	}
	wg.Wait()
	used := cpu(r.proxy) - cpu0
	after, err := r.metrics(ctx)
	if err != nil {
		return nil, err
	}
	var took []float64
	for _, c := range callers {
		if err = errors.Join(err, c.err); err != nil {
			return nil, fmt.Errorf("tools/call: %w", err)
		}
		took = append(took, c.took...)
	}
	slices.Sort(took)
	n := float64(len(took))
	return &cost{RPS: n / length.Seconds(), P50: took[len(took)/2], P99: took[len(took)*99/100], CPU: float64(used.Microseconds()) / n,
		Objects: (after["go_memstats_mallocs_total"] - before["go_memstats_mallocs_total"]) / n}, nil
}

// caller is one connection with a session.
type caller struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	took    []float64 // microseconds, of one round
	err     error
}

func (c *caller) run(until time.Time) {
	c.took = c.took[:0]
	c.conn.SetDeadline(until.Add(10 * time.Second)) //nolint:errcheck // the run is bounded
	for began := time.Now(); c.err == nil && began.Before(until); {
		if _, c.err = c.conn.Write(c.request); c.err == nil {
			c.err = c.answer()
		}
		now := time.Now()
		c.took = append(c.took, float64(now.Sub(began).Nanoseconds())/1e3)
		began = now
	}
}

// answer reads one answer: 200 with a length.
func (c *caller) answer() error {
	length := -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch text := strings.TrimRight(string(line), "\r\n"); {
		case first && !strings.HasPrefix(text, "HTTP/1.1 200 "):
			return fmt.Errorf("answered %s", text)
		case strings.HasPrefix(text, "Content-Length: "):
			if length, err = strconv.Atoi(text[len("Content-Length: "):]); err != nil {
				return err
			}
		case text == "" && length < 0:
			return errors.New("an answer without a length")
		case text == "":
			_, err = io.CopyN(io.Discard, c.in, int64(length))
			return err
		}
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
