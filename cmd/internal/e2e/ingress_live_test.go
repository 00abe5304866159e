//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Trusted ranges change while requests run.

// send writes to the REST API as a script would: an etag if there is one goes along as If-Match.
func (c *control) send(method, path, etag, body string) (a answer, err error) {
	req, err := http.NewRequest(method, "http://"+c.Admin+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	res, err := quick.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// sighting is what one request of the load showed.
type sighting struct {
	began, ended time.Time
	plane        string
	trusted      bool
	err          error
}

var debugOrigin = regexp.MustCompile(`^origin=(\S+) \(.+\); client=(\S+) \(.+\); (internal|external)$`)

// sight makes the n-th request of a load. Its answer has to be one of two pictures: nginx is believed in everything or in nothing.
func (c *caller) sight(n int) (s sighting) {
	ask := []func() (answer, string, error){
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/.well-known/oauth-protected-resource/demo/mcp", "", "")
		},
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/demo/mcp", c.site.key, listTools, "X-Litellm-Mcp-Debug", "true")
		},
		func() (answer, string, error) {
			return c.ask(siteOrigin+"/inside/mcp", c.site.key, listTools, "X-Litellm-Mcp-Debug", "true")
		},
	}[n%3]
	var a answer
	s.began = time.Now()
	a, s.plane, s.err = ask()
	if s.ended = time.Now(); s.err == nil {
		s.trusted, s.err = c.picture(n%3, a)
	}
	return s
}

// picture says which of the two pictures an answer is of.
func (c *caller) picture(kind int, a answer) (trusted bool, err error) {
	there := a.Status == http.StatusOK && (kind == 0 || strings.Contains(a.Body, `"name":"echo"`))
	debug := debugOrigin.FindStringSubmatch(a.Header.Get("X-Mcp-Debug-Origin"))
	shows := func(parts ...string) bool { return len(debug) > 0 && slices.Equal(debug[1:], parts) }
	switch {
	case kind == 0 && there && strings.Contains(a.Body, `"resource":"`+siteOrigin+`/demo/mcp"`):
		return true, nil
	case kind == 0 && there && strings.Contains(a.Body, `"resource":"`+innerOrigin+`/demo/mcp"`):
		return false, nil
	case kind > 0 && there && shows(siteOrigin, c.addr, "internal"):
		return true, nil
	case kind > 0 && there == (kind == 1) && (there || a.Status == http.StatusNotFound) && shows(innerOrigin, "unknown", "external"):
		return false, nil
	}
	return false, fmt.Errorf("neither picture: status %d, origin %q, %s", a.Status, a.Header.Get("X-Mcp-Debug-Origin"), a.Body)
}

// load is requests of some workers until it is stopped.
type load struct {
	end   func()
	wg    sync.WaitGroup
	count atomic.Int64
	seen  [4][]sighting
}

func startLoad(t *testing.T, c *caller) *load {
	stop := make(chan struct{})
	l := new(load)
	l.end = sync.OnceFunc(func() {
		close(stop)
		l.wg.Wait()
	})
	t.Cleanup(l.end)
	for w := range l.seen {
		l.wg.Go(func() {
			for n := w; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				l.seen[w] = append(l.seen[w], c.sight(n))
				l.count.Add(1)
			}
		})
	}
	return l
}

// more waits until the load has answered so many more requests.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.count.Load() + n
	eventually(t, 20*time.Second, "the load goes on", func() error {
		if now := l.count.Load(); now < want {
			return fmt.Errorf("%d of %d", now, want)
		}
		return nil
	})
}

// calm is a time in which both data planes had agreed and nothing was changed.
type calm struct {
	from, to time.Time
	trusted  bool
}

func TestIngressRangesChangeLiveWhileRequestsRun(t *testing.T) {
	s := startSite(t)
	c := s.caller(t)
	c.changes(t, "trusted ranges", ingress(s.trusting()...), siteOrigin)
	began := time.Now()
	l := startLoad(t, c)
	lasting := make(chan error, 1)
	go func() {
		a, _, err := c.ask(siteOrigin+"/demo/mcp", s.key, toolCall("slow", map[string]any{"seconds": 2}))
		if err == nil && (a.Status != http.StatusOK || !strings.Contains(a.Body, `"result"`)) {
			err = fmt.Errorf("status %d %s", a.Status, a.Body)
		}
		lasting <- err
	}()

	spec := func(forwarded bool, proxy string) string {
		return fmt.Sprintf(`{"spec":{"regions":["eu"],"use_forwarded_headers":%t,"trusted_proxies":[%q]}}`, forwarded, proxy)
	}
	var quiet []calm
	var worst time.Duration
	before := ""
	for _, change := range []struct {
		method, mask, body string
		trusted            bool
	}{
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{"trusted_proxies":["10.0.0.0/8"]}}`, false},
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{"trusted_proxies":["` + s.inner + `"]}}`, true},
		{http.MethodPut, "", spec(false, s.inner), false},
		{http.MethodPut, "", spec(true, s.inner+"/32"), true},
		{http.MethodPatch, "?update_mask=spec.trusted_proxies", `{"spec":{}}`, false},
		{http.MethodPut, "", spec(true, "127.83.0.0/16"), true},
		{http.MethodDelete, "", "", false},
		{http.MethodPut, "", spec(true, s.inner), true},
	} {
		settled := time.Now()
		l.more(t, 200)
		quiet = append(quiet, calm{settled, time.Now(), !change.trusted})
		before = s.rewrite(t, change.method, change.mask, change.body, before)
		committed := time.Now()
		want := map[bool]string{true: siteOrigin, false: innerOrigin}[change.trusted]
		eventually(t, agreement, change.method+" "+change.body+": both data planes show "+want, func() error { return c.shows(want) })
		worst = max(worst, time.Since(committed))
	}
	quiet = append(quiet, calm{time.Now(), time.Now().Add(time.Hour), true})
	l.more(t, 200)
	l.end()
	l.judge(t, quiet)
	t.Logf("%d requests in %s, 8 changes, both data planes agreed %s after the API's answer at the latest", l.count.Load(), time.Since(began).Round(time.Millisecond), worst.Round(time.Millisecond))
	if err := <-lasting; err != nil {
		t.Errorf("a call that lasted through the changes: %v", err)
	}
}

// rewrite changes the Ingress by the REST API under the etag of what is there, which it returns; first it tries a stale one, in vain.
func (s *site) rewrite(t *testing.T, method, query, body, stale string) (etag string) {
	t.Helper()
	const path = "/v1/ingresses/eu-public"
	was, err := s.control.send(http.MethodGet, path, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if stale != "" && was.Status == http.StatusOK {
		if a, err := s.control.send(method, path+query, stale, body); err != nil || a.Status != http.StatusPreconditionFailed {
			t.Errorf("%s with an etag of before: %v, status %d %s", method, err, a.Status, a.Body)
		}
	}
	a, err := s.control.send(method, path+query, was.Header.Get("ETag"), body)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %v, status %d %s", method, err, a.Status, a.Body)
	}
	return was.Header.Get("ETag")
}

// judge wants no request to have failed, both data planes to have shown both pictures, and while both had agreed the one picture only.
func (l *load) judge(t *testing.T, quiet []calm) {
	t.Helper()
	seen, failed, late := map[string]int{}, 0, 0
	for _, s := range slices.Concat(l.seen[:]...) {
		if s.err != nil {
			if failed++; failed <= 3 {
				t.Errorf("%s: %v", s.plane, s.err)
			}
			continue
		}
		seen[fmt.Sprintf("%s trusted=%t", s.plane, s.trusted)]++
		for _, p := range quiet {
			if s.began.After(p.from) && s.ended.Before(p.to) && s.trusted != p.trusted {
				late++
			}
		}
	}
	t.Logf("pictures: %v", seen)
	if failed > 0 || late > 0 || len(seen) != 4 {
		t.Errorf("%d requests failed, %d showed what was over, pictures %v", failed, late, seen)
	}
}
