package process

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hopgate/hopgate/proto/netrange"
)

// Readiness is the answer to /readyz.
type Readiness struct {
	Ready    bool          // config is loaded and the process isn't draining
	Draining bool          // it is on its way out
	Revision int64         // revision of the config in force
	Age      time.Duration // since the control plane last confirmed it
	Stale    bool          // the control plane is out of reach
	Reason   string        // why it isn't ready, one sentence; may be empty
}

// AdminConfig says what an admin listener serves beside the planes' own API.
type AdminConfig struct {
	// Metrics is served at /metrics; nil: not served.
	Metrics prometheus.Gatherer
	// Ready is asked by /readyz; nil means always ready.
	Ready func() Readiness
	// Requests is served at /debug/requests to loopback; nil: not served.
	Requests http.Handler
}

// AdminMux serves /metrics, /healthz, /readyz and, to loopback only, /debug/requests and /debug/pprof/. Callers may add to it.
func AdminMux(cfg AdminConfig) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", HealthHandler())
	mux.Handle("GET /readyz", ReadyHandler(cfg.Ready))
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	}
	if cfg.Requests != nil {
		mux.Handle("GET /debug/requests", loopbackOnly(cfg.Requests))
	}
	mux.Handle("GET /debug/pprof/", loopbackOnly(http.HandlerFunc(pprof.Index)))
	mux.Handle("GET /debug/pprof/cmdline", loopbackOnly(http.HandlerFunc(pprof.Cmdline)))
	mux.Handle("GET /debug/pprof/profile", loopbackOnly(http.HandlerFunc(pprof.Profile)))
	mux.Handle("GET /debug/pprof/symbol", loopbackOnly(http.HandlerFunc(pprof.Symbol)))
	mux.Handle("GET /debug/pprof/trace", loopbackOnly(http.HandlerFunc(pprof.Trace)))
	return mux
}

// HealthHandler answers 200 while the process runs.
func HealthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("{\"status\":\"ok\"}\n")) // the prober may be gone
	})
}

// ReadyHandler answers 200 when ready says so and 503 when not, with the facts as JSON.
func ReadyHandler(ready func() Readiness) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := Readiness{Ready: true}
		if ready != nil {
			s = ready()
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !s.Ready || s.Draining {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(s) // the prober may be gone
	})
}

// MarshalJSON writes the body of /readyz.
func (s Readiness) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Ready    bool    `json:"ready"`
		Draining bool    `json:"draining,omitempty"`
		Revision int64   `json:"revision"`
		Age      float64 `json:"age_seconds"`
		Stale    bool    `json:"stale"`
		Reason   string  `json:"reason,omitempty"`
	}{s.Ready && !s.Draining, s.Draining, s.Revision, s.Age.Seconds(), s.Stale, s.Reason})
}

// loopbackOnly answers 403 to peers on other machines, and to pages in a local browser that reached us under a foreign name.
func loopbackOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !netrange.Loopback(r.RemoteAddr) || !netrange.Loopback(r.Host) {
			http.Error(w, "this page answers on loopback only; use http://127.0.0.1 on the machine itself", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
