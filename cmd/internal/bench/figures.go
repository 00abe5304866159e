package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// figures is the outcome of one run; baseline.json beside this file holds the agreed one.
type figures struct {
	Machine     string           `json:"machine"`
	Time        string           `json:"time"`
	Connections int              `json:"connections"`
	Paths       map[string]round `json:"paths"` // medians of the rounds that count
	Quiet       map[string]int   `json:"quiet_rounds"`
	// Ratio of hopgate's throughput to direct, and of nginx's.
	Ratio      float64 `json:"ratio_to_direct"`
	RatioNginx float64 `json:"ratio_to_direct_nginx"`
	// TimesNginx is CPU per request as a multiple of nginx's.
	TimesNginx  float64     `json:"cpu_times_nginx"`
	AddedP50    float64     `json:"added_p50_us"`
	AddedP99    float64     `json:"added_p99_us"`
	Allocs      float64     `json:"allocs_per_request"`
	Spans       int64       `json:"spans_exported"`
	Stream      streamDelay `json:"sse"`
	Propagation propagation `json:"propagation"`
	// TimesBefore is CPU per request as a multiple of that of the binary it is compared with, AddedAllocs how many allocations it has more, both
	// by BesideBefore: the two under load at the same time.
	TimesBefore  float64 `json:"cpu_times_before,omitempty"`
	AddedAllocs  float64 `json:"added_allocs_before,omitempty"`
	BesideBefore *paired `json:"beside_before,omitempty"`
	Many         many    `json:"many_servers"`
	Growth       growth  `json:"growth"`
	Rounds       []round `json:"rounds"`
}

func (f *figures) summarise() {
	f.Paths, f.Quiet = map[string]round{}, map[string]int{}
	for _, name := range []string{"direct", "nginx", "hopgate", "before"} {
		m := medians(name, f.Rounds)
		if m.Rounds == 0 && name == "before" {
			continue
		}
		f.Quiet[name], f.Paths[name] = m.Rounds, m.round
	}
	d, n, h := f.Paths["direct"], f.Paths["nginx"], f.Paths["hopgate"]
	f.Allocs = h.Allocs
	if d.RPS > 0 && n.CPU > 0 {
		f.Ratio, f.RatioNginx, f.TimesNginx = h.RPS/d.RPS, n.RPS/d.RPS, h.CPU/n.CPU
		f.AddedP50, f.AddedP99 = h.P50-d.P50, h.P99-d.P99
	}
	if b := f.BesideBefore; b != nil {
		f.TimesBefore, f.AddedAllocs = b.CPU.Value, b.Other.Allocs-b.Base.Allocs
	}
}

// summary is what the rounds of one path that count came to.
type summary struct {
	round
	// Rounds is how many count.
	Rounds int `json:"rounds"`
	// SpreadCPU is how far apart the largest and the smallest CPU time per request are, as a share of the median.
	SpreadCPU float64 `json:"cpu_spread"`
}

// medians sums up the rounds of one path that count.
func medians(name string, rounds []round) summary {
	var rps, p50, p99, cpu, allocs []float64
	for _, r := range rounds {
		if r.Path == name && r.Counts {
			rps, p50, p99, cpu, allocs = append(rps, r.RPS), append(p50, r.P50), append(p99, r.P99), append(cpu, r.CPU), append(allocs, r.Allocs)
		}
	}
	s := summary{Rounds: len(rps), round: round{Path: name, RPS: median(rps), P50: median(p50), P99: median(p99), CPU: median(cpu), Allocs: median(allocs), Counts: len(rps) > 0}}
	if s.CPU > 0 {
		s.SpreadCPU = (slices.Max(cpu) - slices.Min(cpu)) / s.CPU
	}
	return s
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func (f *figures) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d connections; medians of the rounds in which others used little\n", f.Machine, f.Connections)
	if len(f.Paths) > 0 {
		f.printHop(w)
	}
	f.Many.print(w)
	if f.Propagation.Changes > 0 {
		f.printRest(w)
	}
	f.Growth.print(w)
}

func (f *figures) printHop(w io.Writer) {
	for _, name := range []string{"direct", "nginx", "before", "hopgate"} {
		p, ok := f.Paths[name]
		if !ok {
			continue
		}
		fmt.Fprintf(w, "%-8s %2d rounds  %7.0f req/s  p50 %6.0f us  p99 %6.0f us  cpu/request %5.1f us\n", name, f.Quiet[name], p.RPS, p.P50, p.P99, p.CPU)
	}
	fmt.Fprintf(w, "ratio to direct %.2f (nginx %.2f); CPU per request %.2f x nginx's; added p50 %.0f us, p99 %.0f us; %.1f allocations per request; %d spans exported\n",
		f.Ratio, f.RatioNginx, f.TimesNginx, f.AddedP50, f.AddedP99, f.Allocs, f.Spans)
	if f.BesideBefore != nil {
		fmt.Fprintf(w, "beside the binary before: %s\n", f.BesideBefore)
	}
}

func (f *figures) printRest(w io.Writer) {
	fmt.Fprintf(w, "SSE, five events 20 ms apart: first event p50 %.2f ms (direct %.2f, nginx %.2f); lag per event p50 %.2f p99 %.2f ms (direct %.2f / %.2f)\n",
		f.Stream.First["hopgate"], f.Stream.First["direct"], f.Stream.First["nginx"], f.Stream.LagP50["hopgate"], f.Stream.LagP99["hopgate"], f.Stream.LagP50["direct"], f.Stream.LagP99["direct"])
	fmt.Fprintf(w, "propagation, apply to served on one data plane: p50 %.1f ms p99 %.1f ms (%d changes)\n", f.Propagation.P50, f.Propagation.P99, f.Propagation.Changes)
}

func (f *figures) write(path string) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
