package egress_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestARequestArrivesAsItWasMade(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("User-Agent")+r.Header.Get("Accept-Encoding"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(b)
	})
	client := newClient(t, egress.Config{})
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	a, err := client.Do(t.Context(), &egress.Request{Method: "POST", URL: url + "/token?x=1", Header: h, Body: []byte("a=b")})
	if err != nil {
		t.Fatal(err)
	}
	if saw := a.Header.Get("X-Saw"); a.Status != http.StatusTeapot || string(a.Body) != "a=b" || saw != "POST /token?x=1 application/x-www-form-urlencoded hopgate" {
		t.Errorf("status %d, %q, %q", a.Status, a.Body, saw)
	}
	if len(h) != 1 {
		t.Errorf("the caller's header was changed: %v", h)
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	var visits atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	a, err := newClient(t, egress.Config{}).Do(t.Context(), &egress.Request{URL: url, Retries: 3})
	if err != nil || a.Status != http.StatusTemporaryRedirect || visits.Load() != 1 {
		t.Errorf("%+v, %v, %d visits", a, err, visits.Load())
	}
}

func TestTheEnvironmentsProxyIsIgnored(t *testing.T) {
	proxy := listen(t, func(c net.Conn) { t.Error("the proxy was used") })
	t.Setenv("HTTP_PROXY", "http://"+proxy)
	t.Setenv("http_proxy", "http://"+proxy)
	client := newClient(t, egress.Config{Resolver: resolving("")})
	_, err := client.Do(t.Context(), &egress.Request{URL: "http://nobody.test/"})
	wantFault(t, err, fault.DNS, fault.NotFound)
}

func TestOnlyWhatMayPassIsRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		retries  int
		want     int // the last status
		visits   int32
	}{
		"none asked for":      {[]int{503, 200}, 0, 503, 1},
		"server error":        {[]int{503, 500, 200}, 2, 200, 3},
		"too many requests":   {[]int{429, 200}, 1, 200, 2},
		"still failing":       {[]int{503, 502, 500}, 2, 500, 3},
		"refusals aren't":     {[]int{401, 200}, 3, 401, 1},
		"not implemented":     {[]int{501, 200}, 3, 501, 1},
		"redirects aren't":    {[]int{302, 200}, 3, 302, 1},
		"first one succeeded": {[]int{204, 500}, 3, 204, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var visits atomic.Int32
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); string(b) != "body" {
					t.Errorf("attempt %d came with %q", visits.Load(), b)
				}
				w.WriteHeader(c.statuses[visits.Add(1)-1])
			})
			a, err := newClient(t, egress.Config{}).Do(t.Context(), &egress.Request{Method: "POST", URL: url, Body: []byte("body"), Retries: c.retries})
			if err != nil || a.Status != c.want || visits.Load() != c.visits {
				t.Errorf("%+v, %v, %d visits", a, err, visits.Load())
			}
		})
	}
}

func TestABrokenConnectionIsRepeatedAndItsCauseKept(t *testing.T) {
	var visits atomic.Int32
	addr := listen(t, func(c net.Conn) {
		if visits.Add(1) == 3 {
			says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")(c)
		}
	})
	client := newClient(t, egress.Config{})
	_, err := client.Do(t.Context(), &egress.Request{Method: "POST", URL: "http://" + addr + "/secret", Retries: 1})
	wantFault(t, err, fault.Headers, fault.Reset)
	if visits.Load() != 2 {
		t.Errorf("%d visits", visits.Load())
	}
	if a, err := client.Do(t.Context(), &egress.Request{Method: "POST", URL: "http://" + addr + "/secret", Retries: 1}); err != nil || a.Status != 200 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestRetriesEndWithTheTimeLimit(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	start := time.Now()
	a, err := newClient(t, egress.Config{}).Do(t.Context(), &egress.Request{URL: url, Retries: 5, Timeout: 250 * time.Millisecond})
	if err != nil || a.Status != http.StatusServiceUnavailable {
		t.Errorf("%+v, %v; the last answer is what should be told", a, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestTheWholeBodyUpToTheLimitIsRead(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", egress.DefaultLimit))
	})
	client := newClient(t, egress.Config{})
	if a, err := client.Do(t.Context(), &egress.Request{URL: url}); err != nil || len(a.Body) != egress.DefaultLimit {
		t.Errorf("%v", err)
	}
	_, err := client.Do(t.Context(), &egress.Request{URL: url, Limit: egress.DefaultLimit - 1})
	if f := wantFault(t, err, fault.Body, fault.TooLarge); f.UpstreamStatus != http.StatusOK {
		t.Errorf("upstream status %d", f.UpstreamStatus)
	}
}

func TestCloseEndsCallsAndConnections(t *testing.T) {
	var open atomic.Int32
	entered := make(chan struct{}, 1)
	addr := listen(t, func(c net.Conn) { open.Add(1); says("")(c); entered <- struct{}{}; silent(c); open.Add(-1) })
	client := newClient(t, egress.Config{})
	result := make(chan error, 1)
	go func() {
		_, err := client.Do(t.Context(), &egress.Request{URL: "http://" + addr + "/secret"})
		result <- err
	}()
	<-entered
	client.Close()
	wantFault(t, <-result, fault.Headers, fault.TimedOut)
	for deadline := time.Now().Add(5 * time.Second); open.Load() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("a connection stayed open")
		}
	}
	if _, err := client.Do(t.Context(), &egress.Request{URL: "http://" + addr}); fault.As(err) == nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestManySettingsShareABoundedNumberOfConnections(t *testing.T) {
	ca := newAuthority(t)
	var open, most atomic.Int32
	port := ca.serveTLS(t, func(w http.ResponseWriter, r *http.Request) { most.Store(max(most.Load(), open.Add(1))); open.Add(-1) })
	client := newClient(t, egress.Config{Resolver: resolving("auth.test", "127.0.0.1")})
	for range 80 {
		cfg := ca.roots()
		cfg.MinVersion = tls.VersionTLS13
		if _, err := client.Do(t.Context(), &egress.Request{URL: "https://auth.test:" + port, TLS: cfg}); err != nil {
			t.Fatal(err)
		}
	}
	if n := egress.Lanes(client); n != 64 {
		t.Errorf("%d sets of connections are kept", n)
	}
}
