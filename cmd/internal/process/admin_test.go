package process_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func ask(h http.Handler, method, target, peer, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr, r.Host = peer, host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func adminMux(ready func() process.Readiness) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hopgate_test"}, func() float64 { return 7 }))
	return process.AdminMux(process.AdminConfig{Metrics: reg, Ready: ready, Requests: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "3 requests in flight")
	})})
}

const (
	local   = "127.0.0.1:5000"
	local6  = "[::1]:5000"
	foreign = "10.0.0.9:5000"
)

func TestAdminPages(t *testing.T) {
	h := adminMux(nil)
	tests := []struct {
		name, method, path, peer, host string
		status                         int
		body                           string
	}{
		{"metrics", "GET", "/metrics", foreign, "dp:4003", 200, "hopgate_test 7"},
		{"health", "GET", "/healthz", foreign, "dp:4003", 200, `{"status":"ok"}`},
		{"ready", "GET", "/readyz", foreign, "dp:4003", 200, `"ready":true`},
		{"wrong method", "POST", "/healthz", local, "localhost", 405, ""},
		{"requests", "GET", "/debug/requests", local, "127.0.0.1:4003", 200, "3 requests in flight"},
		{"requests over IPv6", "GET", "/debug/requests", local6, "[::1]:4003", 200, "3 requests"},
		{"requests from afar", "GET", "/debug/requests", foreign, "127.0.0.1:4003", 403, "loopback only"},
		{"requests by a rebound name", "GET", "/debug/requests", local, "evil.example:4003", 403, "loopback only"},
		{"profiles", "GET", "/debug/pprof/", local, "localhost:4003", 200, "goroutine"},
		{"one profile", "GET", "/debug/pprof/goroutine?debug=1", local, "localhost", 200, "goroutine profile"},
		{"profiles from afar", "GET", "/debug/pprof/heap", foreign, "localhost", 403, "loopback only"},
		{"command line from afar", "GET", "/debug/pprof/cmdline", foreign, "localhost", 403, "loopback only"},
		{"unknown", "GET", "/nothing", local, "localhost", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if w := ask(h, tt.method, tt.path, tt.peer, tt.host); w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	tests := []struct {
		name  string
		state process.Readiness
		code  int
		want  map[string]any
	}{
		{"serving", process.Readiness{Ready: true, Revision: 7, Age: 1500 * time.Millisecond}, 200,
			map[string]any{"ready": true, "revision": 7.0, "age_seconds": 1.5, "stale": false}},
		{"serving old config", process.Readiness{Ready: true, Revision: 7, Stale: true}, 200, map[string]any{"ready": true, "stale": true}},
		{"nothing loaded", process.Readiness{Reason: "no config yet"}, 503, map[string]any{"ready": false, "reason": "no config yet"}},
		{"draining", process.Readiness{Ready: true, Draining: true}, 503, map[string]any{"ready": false, "draining": true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(adminMux(func() process.Readiness { return tt.state }), "GET", "/readyz", foreign, "x")
			got := map[string]any{}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != tt.code {
				t.Fatal(w.Code, w.Body, err)
			}
			for k, v := range tt.want {
				if got[k] != v {
					t.Errorf("%s is %v, want %v", k, got[k], v)
				}
			}
		})
	}
}

func TestServeFinishesOpenRequests(t *testing.T) {
	log, _ := newLog(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in, out := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(in)
		<-out
		_, _ = io.WriteString(w, "whole")
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- process.Serve(ctx, ln, h, log) }()
	body := make(chan string, 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		res, err := client.Get("http://" + ln.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		body <- string(b)
	}()
	<-in
	cancel()
	eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(out)
	if got := <-body; got != "whole" {
		t.Error(got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	log, _ := newLog(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := process.Serve(t.Context(), ln, http.NotFoundHandler(), log); err == nil {
		t.Error("served without a listener")
	}
}
