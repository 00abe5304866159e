package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// figures is the outcome of one run; baseline.json beside this file holds the agreed one.
type figures struct {
	Machine string `json:"machine"`
	Time    string `json:"time"`
	Streams int    `json:"streams"`
	// Rss and Pss are what the process has in RAM more than before the streams came, per stream, both legs; Whole is its Rss in all.
	Rss   float64 `json:"rss_kib_per_stream"`
	Pss   float64 `json:"pss_kib_per_stream"`
	Whole float64 `json:"rss_mib"`
	Base  float64 `json:"rss_mib_before"`
	// Worn is Rss per stream again, after hundreds of thousands of calls beside the streams: with the garbage that a collector allows.
	Worn float64 `json:"rss_kib_per_stream_after_calls"`
	// Heap and Stacks are in use per stream after a collection; Parts is the heap by what made it, as the profile samples it.
	Heap       float64            `json:"heap_kib_per_stream"`
	Stacks     float64            `json:"stack_kib_per_stream"`
	Goroutines float64            `json:"goroutines_per_stream"`
	Parts      map[string]float64 `json:"heap_kib_per_stream_by_part"`
	// Idle is the CPU of the process with all streams quiet, comments included.
	Idle     float64 `json:"idle_percent_of_a_core"`
	Comments int     `json:"comments"`
	// What a tools/call costs before the streams came, beside them and after they went.
	None   cost `json:"call_without_streams"`
	Beside cost `json:"call_beside_streams"`
	After  cost `json:"call_after_streams"`
}

const kib = 1 << 10

func (f *figures) compare(before, now *memory) {
	per := func(now, before float64) float64 { return (now - before) / kib / float64(f.Streams) }
	f.Rss, f.Pss, f.Whole, f.Base = per(now.rss, before.rss), per(now.pss, before.pss), now.rss/kib/kib, before.rss/kib/kib
	f.Heap, f.Stacks = per(now.heap, before.heap), per(now.stacks, before.stacks)
	f.Goroutines = (now.goroutines - before.goroutines) / float64(f.Streams)
	f.Parts = map[string]float64{}
	for name, v := range now.parts {
		f.Parts[name] = per(v, before.parts[name])
	}
}

func (f *figures) print(w io.Writer) {
	fmt.Fprintf(w, "%d idle streams, both legs, on one data plane (%s)\n", f.Streams, f.Machine)
	fmt.Fprintf(w, "in RAM per stream: %.1f KiB (Pss %.1f); %.0f MiB in all, %.0f before; %.1f KiB after many calls\n", f.Rss, f.Pss, f.Whole, f.Base, f.Worn)
	fmt.Fprintf(w, "in use per stream: heap %.1f KiB, stacks %.1f KiB, %.2f goroutines\n", f.Heap, f.Stacks, f.Goroutines)
	for _, name := range slices.Sorted(maps.Keys(f.Parts)) {
		fmt.Fprintf(w, "  heap of the %-13s %5.1f KiB\n", name, f.Parts[name])
	}
	fmt.Fprintf(w, "CPU while quiet: %.2f %% of a core; %d comments came\n", f.Idle, f.Comments)
	for _, row := range []struct {
		name string
		cost
	}{{"without streams", f.None}, {"beside them", f.Beside}, {"after them", f.After}} {
		fmt.Fprintf(w, "tools/call %-15s %6.0f/s  p50 %5.0f us  p99 %5.0f us  %5.1f us CPU  %4.1f objects\n", row.name, row.RPS, row.P50, row.P99, row.CPU, row.Objects)
	}
}

func (f *figures) write(file string) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
