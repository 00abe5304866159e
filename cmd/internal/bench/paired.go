package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// side is one of the two hops of a paired measurement, and the call that it gets.
type side struct {
	gate              *gate
	at, body, session string
}

// paired is what the same call costs two hops that run at the same time.
type paired struct {
	Pairs int `json:"pairs"`
	// CPU is that of the other hop as a multiple of the base's, in all slices together; Usual is the median of the pairs, most of which are without a
	// collection.
	CPU   interval `json:"cpu_times"`
	Usual interval `json:"cpu_times_usual"`
	Base  spent    `json:"base"`
	Other spent    `json:"other"`
	// Foreign is the share of the machine that processes of no concern to the measurement used meanwhile.
	Foreign float64 `json:"foreign_share"`
}

// spent is what one hop used, per request.
type spent struct {
	CPU    float64 `json:"cpu_us_per_request"`
	RPS    float64 `json:"rps"`
	Allocs float64 `json:"allocs_per_request"`
	// Collection is what one garbage collection costs in CPU when there is nothing else to do, and Collections what all of them come to at that.
	// Both tell where CPU goes; on a busy machine they spread by half.
	Collection  float64 `json:"collection_ms"`
	Collections float64 `json:"collections_us_per_request"`
}

// warmUp is how long the hops have the load before it counts.
const warmUp = time.Second

// pairUp loads two hops at the same time, each with half of the connections, in n slices so short that most are without a collection in either.
// Whatever else the machine does happens to both, so that it cancels in the ratio; no pair is left out.
// On a machine that others fill, one of the two may have the worse core for seconds: an outcome that surprises is taken again before it is believed.
func (r *rig) pairUp(ctx context.Context, name string, n int, base, other side) (p paired, err error) {
	sides := [2]side{base, other}
	var crews [2]*crew
	for i, s := range sides {
		addr := s.gate.mcp()
		crews[i], err = newCrew(ctx, addr, s.gate.proxy.cmd.Process.Pid, max(1, r.o.connections/2), r.rawCall(addr, s.at, s.body, s.session))
		if err != nil {
			return p, err
		}
		defer crews[i].close()
	}
	if _, err := together(crews, warmUp); err != nil {
		return p, fmt.Errorf("%s: %w", name, err)
	}
	var allocs0, collections0 [2]float64
	for i, s := range sides {
		allocs0[i], collections0[i] = counts(ctx, s.gate)
	}
	ours0, all0 := ticks(r.pids()), machineTicks()
	pairs := make([]pair, n)
	for i := range pairs {
		if pairs[i], err = together(crews, r.o.slice); err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return p, err
		}
	}
	all := machineTicks().sub(all0)
	p = paired{Pairs: len(pairs), CPU: bootstrap(pairs, wholeRatio), Usual: bootstrap(pairs, usualRatio),
		Foreign: max(0, all.busy-(ticks(r.pids())-ours0)) / all.total}
	var allocs, collections [2]float64
	for i, s := range sides {
		allocs[i], collections[i] = counts(ctx, s.gate)
	}
	sums, one := sum(pairs), collectionTimes(ctx, sides)
	for i, into := range []*spent{&p.Base, &p.Other} {
		requests := float64(sums[i].requests)
		*into = spent{CPU: sums[i].perRequest(), RPS: ratio(requests, (time.Duration(n) * r.o.slice).Seconds()),
			Allocs: ratio(allocs[i]-allocs0[i], requests), Collection: one[i] / 1e6,
			Collections: ratio((collections[i]-collections0[i])*one[i]/1e3, requests)}
	}
	fmt.Fprintf(os.Stderr, "%-13s %s\n", name, p)
	return p, nil
}

// together takes one slice of both hops.
func together(crews [2]*crew, length time.Duration) (pair, error) {
	var got [2]slice
	var errs [2]error
	var wg sync.WaitGroup
	for i, c := range crews {
		wg.Go(func() { got[i], errs[i] = c.slice(length) })
	}
	wg.Wait()
	return pair{base: got[0], other: got[1]}, errors.Join(errs[:]...)
}

// collectionTimes is the CPU time, in nanoseconds, of one garbage collection of each of two hops that have nothing else to do: the median of some
// heap profiles with a collection before them, less that of as many without. Nothing if the hop doesn't give them.
func collectionTimes(ctx context.Context, sides [2]side) (one [2]float64) {
	var took [2][2][]float64
	for range 15 {
		for i, s := range sides {
			for gc := range took[i] {
				pid := s.gate.proxy.cmd.Process.Pid
				cpu := quiet(pid)
				if err := heap(ctx, s.gate, gc); err != nil {
					return one
				}
				took[i][gc] = append(took[i][gc], float64(quiet(pid)-cpu))
			}
		}
	}
	for i, t := range took {
		one[i] = max(0, median(t[1])-median(t[0]))
	}
	return one
}

// heap has a hop tell its heap, with gc=1 after a collection.
func heap(ctx context.Context, g *gate, gc int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/heap?gc=%d", g.metrics(), gc), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (p paired) String() string {
	return fmt.Sprintf("CPU %v x, most slices %v x; %.1f and %.1f us, collections %.2f and %.2f of it (%.1f and %.1f ms each), %+.2f allocations; "+
		"%d pairs, foreign %.0f %%", p.CPU, p.Usual, p.Other.CPU, p.Base.CPU, p.Other.Collections, p.Base.Collections,
		p.Other.Collection, p.Base.Collection, p.Other.Allocs-p.Base.Allocs, p.Pairs, p.Foreign*100)
}
