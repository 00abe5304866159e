package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"
)

// maxListed is how many requests in flight /debug/requests shows.
const maxListed = 1000

// ServeRequests answers GET /debug/requests: the requests in flight, the oldest first. Text for people; JSON with ?format=json.
func (t *Telemetry) ServeRequests(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	list, now := t.InFlight(maxListed), time.Now()
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Query().Get("format") == "json" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(requestsDocument(list, t.Active(), now)) // the reader may be gone
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	writeRequests(w, list, t.Active(), now)
}

type requestsJSON struct {
	Active   int64         `json:"active"`
	Requests []requestJSON `json:"requests"`
}

type requestJSON struct {
	AgeMS   float64 `json:"age_ms"`
	Step    Step    `json:"step"`
	StepMS  float64 `json:"step_ms"` // how long it has been in Step
	Method  string  `json:"method,omitempty"`
	Tool    string  `json:"tool,omitempty"`
	Server  string  `json:"server,omitempty"`
	Caller  string  `json:"caller,omitempty"`
	HTTP    string  `json:"http"`
	Client  string  `json:"client"`
	TraceID string  `json:"trace_id"`
}

func requestsDocument(list []InFlight, active int64, now time.Time) requestsJSON {
	doc := requestsJSON{Active: active, Requests: make([]requestJSON, 0, len(list))}
	for _, f := range list {
		doc.Requests = append(doc.Requests, requestJSON{
			AgeMS: milliseconds(now.Sub(f.Start)), Step: f.Step, StepMS: milliseconds(now.Sub(f.Since)), Method: f.Method, Tool: f.Tool,
			Server: f.Server, Caller: f.Caller, HTTP: f.HTTP, Client: f.Client, TraceID: f.TraceID,
		})
	}
	return doc
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func writeRequests(w http.ResponseWriter, list []InFlight, active int64, now time.Time) {
	fmt.Fprintf(w, "%d requests in flight\n\n", active)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "AGE\tSTEP\tIN STEP\tSERVER\tMETHOD\tTOOL\tCALLER\tCLIENT\tHTTP\tTRACE")
	for _, f := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", age(now.Sub(f.Start)), f.Step, age(now.Sub(f.Since)), dash(f.Server),
			dash(f.Method), dash(f.Tool), dash(f.Caller), dash(f.Client), dash(f.HTTP), f.TraceID)
	}
	_ = tw.Flush() // the reader may be gone
}

func age(d time.Duration) string { return d.Round(time.Millisecond).String() }

// dash stands for nothing, and keeps what callers wrote from forging columns and lines.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return string(appendValue(nil, s))
}
