package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// figures is the outcome of one run; baseline.json beside this file holds the agreed one.
type figures struct {
	Machine string  `json:"machine"`
	Time    string  `json:"time"`
	Series  []*row  `json:"series"`
	Returns []*back `json:"restarts"`
}

// row is what was measured with one config and number of streams.
type row struct {
	Config  string `json:"config"`
	Streams int    `json:"streams"`
	Real    int    `json:"streams_with_a_table"`
	Changes int    `json:"changes"`
	// Last is from the start of the API call to the control plane's word that all have answered.
	LastP50 float64 `json:"last_ack_p50_ms"`
	LastMax float64 `json:"last_ack_max_ms"`
	// Commit is the API call alone.
	Commit float64 `json:"commit_p50_ms"`
	// Push is the server's CPU per stream and change, Client that of this process.
	Push   float64 `json:"server_cpu_us_per_stream_and_push"`
	Client float64 `json:"generator_cpu_us_per_stream_and_push"`
	// Used is the server's heap and stacks in use after a collection, per stream; Memory what it has in RAM more than without streams, with
	// the garbage of changes (with the large config that of loading it is there before, and hides it); Whole is all of the process.
	Used   float64 `json:"server_kib_in_use_per_stream"`
	Memory float64 `json:"server_kib_per_stream"`
	Whole  float64 `json:"server_mib"`
	// Idle is the server's CPU without changes, of one core, with the health reports of all.
	Idle float64 `json:"idle_percent_of_a_core"`
	// Foreign is the share of the machine that other processes used during changes.
	Foreign float64 `json:"foreign_share"`
	Resyncs int64   `json:"full_updates"`
	Lost    int64   `json:"streams_lost"`
}

// back is a restart of the control plane under all streams.
type back struct {
	Config  string `json:"config"`
	Streams int    `json:"streams"`
	// Ready is from the kill until the new process is ready, Synced until all streams are in sync.
	Ready  float64 `json:"ready_s"`
	Synced float64 `json:"in_sync_s"`
	// Updates and Payload are what was sent of config; Wire is what each stream read, TLS and refused attempts included.
	Updates  int64   `json:"updates"`
	Payload  int64   `json:"update_bytes"`
	Wire     float64 `json:"bytes_read_per_stream"`
	Attempts float64 `json:"attempts_per_stream"`
	CPU      float64 `json:"server_cpu_s"`
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (f *figures) print(w io.Writer) {
	fmt.Fprintf(w, "%s; last ACK: from the start of the API call to the answer of the last data plane\n", f.Machine)
	fmt.Fprintf(w, "%-6s %8s %5s  %9s %9s %8s  %9s %9s  %8s %10s %8s  %6s %7s %6s %5s\n", "config", "streams", "real", "last p50", "last max", "commit",
		"us/push", "us/client", "KiB used", "KiB in RAM", "MiB", "idle %", "foreign", "resync", "lost")
	for _, r := range f.Series {
		fmt.Fprintf(w, "%-6s %8d %5d  %6.0f ms %6.0f ms %5.1f ms  %9.1f %9.1f  %8.1f %10.1f %8.0f  %6.2f %5.1f %% %6d %5d\n", r.Config, r.Streams, r.Real, r.LastP50, r.LastMax, r.Commit,
			r.Push, r.Client, r.Used, r.Memory, r.Whole, r.Idle, r.Foreign*100, r.Resyncs, r.Lost)
	}
	for _, b := range f.Returns {
		fmt.Fprintf(w, "restart under %d streams, %s config: ready after %.1f s, all in sync after %.1f s; %d updates of %d bytes, %.0f bytes read and %.1f attempts per stream, %.1f s of CPU\n",
			b.Streams, b.Config, b.Ready, b.Synced, b.Updates, b.Payload, b.Wire, b.Attempts, b.CPU)
	}
}

func (f *figures) write(path string) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
