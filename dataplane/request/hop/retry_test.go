package hop_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestACallThatMayHaveRunIsNeverSentTwice(t *testing.T) {
	h, up := newHop(t), startResetting(t)
	s := instances(t, table.Resilience{Retries: 3}, up.url, answers(t).URL)
	c := callOf(s)
	c.Instance = 1
	_, _, rec, err := outcome(h, t.Context(), c)
	if kindOf(t, err) != fault.Reset || up.runs.Load() != 1 || rec.Attempts != 1 {
		t.Errorf("it ran %d times in %d attempts: %v", up.runs.Load(), rec.Attempts, err)
	}
}

func TestACallThatMayRunTwiceIsRepeatedAsOftenAsAllowed(t *testing.T) {
	h, up := newHop(t), startResetting(t)
	_, _, rec, err := outcome(h, t.Context(), listOf(instances(t, table.Resilience{Retries: 2}, up.url)))
	if kindOf(t, err) != fault.Reset || up.runs.Load() != 3 || rec.Attempts != 3 {
		t.Errorf("it ran %d times in %d attempts: %v", up.runs.Load(), rec.Attempts, err)
	}
	if took := rec.Upstream.End.Sub(rec.Upstream.Start); took < 100*time.Millisecond {
		t.Errorf("the leg of three attempts took %v", took)
	}
	if _, _, rec, _ := outcome(h, t.Context(), listOf(instances(t, table.Resilience{}, up.url))); rec.Attempts != 1 {
		t.Errorf("%d attempts without retries", rec.Attempts)
	}
}

func TestARepeatedCallGoesToAnotherInstance(t *testing.T) {
	h, up := newHop(t), startResetting(t)
	s := instances(t, table.Resilience{Retries: 1}, up.url, answers(t).URL)
	for range 20 {
		if status, _, _, err := outcome(h, t.Context(), listOf(s)); err != nil || status != http.StatusOK {
			t.Fatal(status, err)
		}
	}
	if up.runs.Load() == 0 {
		t.Error("the broken instance never had a call")
	}
}

func TestACallThatCanNotHaveRunGoesElsewhere(t *testing.T) {
	h := newHop(t)
	s := instances(t, table.Resilience{Retries: 1}, mcptest.RefusedURL(t), answers(t).URL)
	most := 0
	for range 20 {
		c := callOf(s)
		_, _, rec, err := outcome(h, t.Context(), c)
		if err != nil || c.Instance != 2 {
			t.Fatal(c.Instance, err)
		}
		most = max(most, rec.Attempts)
	}
	if most != 2 {
		t.Errorf("at most %d attempts", most)
	}
	bound := callOf(s)
	bound.Instance = 1
	if _, _, rec, err := outcome(h, t.Context(), bound); kindOf(t, err) != fault.Refused || rec.Attempts != 2 {
		t.Errorf("%d attempts: %v", rec.Attempts, err)
	}
}

func TestUnavailableAnswersOfOthersAreAskedForAgain(t *testing.T) {
	const rpc = `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"busy"}}`
	for _, c := range []struct {
		name, ctype, body, after string
		status                   int
		call                     bool
		attempts                 int
	}{
		{"a page", "text/html", "<html>", "", 503, false, 2},
		{"JSON of a proxy", "application/json", `{"message":"no upstream"}`, "", 502, false, 2},
		{"time out of a proxy", "text/plain", "", "", 504, false, 2},
		{"the server's own words", "application/json", rpc, "", 503, false, 1},
		{"told when to come back", "text/html", "<html>", "7", 503, false, 1},
		{"an internal error", "text/html", "<html>", "", 500, false, 1},
		{"a call", "text/html", "<html>", "", 503, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) > 1 {
					mcptest.Result(w, mcptest.Read(r), `{}`)
					return
				}
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				mcptest.Status(c.status, c.ctype, c.body).ServeHTTP(w, r)
			}))
			s := instances(t, table.Resilience{Retries: 1}, up.URL)
			q := listOf(s)
			if c.call {
				q = callOf(s)
			}
			status, body, rec, err := outcome(newHop(t), t.Context(), q)
			if err != nil || rec.Attempts != c.attempts || len(up.Seen()) != c.attempts {
				t.Fatalf("%d attempts, %d requests: %v", rec.Attempts, len(up.Seen()), err)
			}
			if want := c.status; c.attempts == 1 && (status != want || body != c.body) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

func TestTheLastUnavailableAnswerPasses(t *testing.T) {
	up := mcptest.Start(t, mcptest.Status(503, "application/json", `{"message":"no upstream"}`))
	status, body, rec, err := outcome(newHop(t), t.Context(), listOf(instances(t, table.Resilience{Retries: 1}, up.URL)))
	if err != nil || status != 503 || body != `{"message":"no upstream"}` || rec.Attempts != 2 {
		t.Errorf("%d %s after %d attempts: %v", status, body, rec.Attempts, err)
	}
}

func TestRepeatingStaysWithinTheTime(t *testing.T) {
	h, up := newHop(t), startResetting(t)
	s := instances(t, table.Resilience{Retries: 1000}, up.url)
	s.Timeouts.Total = 600 * time.Millisecond
	began := time.Now()
	_, _, rec, err := outcome(h, t.Context(), listOf(s))
	if took := time.Since(began); kindOf(t, err) != fault.Reset || took > 3*time.Second || rec.Attempts < 2 {
		t.Errorf("%d attempts in %v: %v", rec.Attempts, took, err)
	}
	s.Timeouts.Total = 0
	for cut := true; cut; { // an attempt that the caller's time itself cuts doesn't come to a pause
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		_, _, rec, err := outcome(h, ctx, listOf(s))
		if cut = errors.Is(err, context.DeadlineExceeded); !cut && kindOf(t, err) != fault.Reset || rec.Attempts != 1 {
			t.Errorf("%d attempts: %v", rec.Attempts, err)
		}
		cancel()
	}
}

func TestAnInstanceThatIsGoneIsALostSession(t *testing.T) {
	s := instances(t, table.Resilience{}, answers(t).URL, answers(t).URL)
	c := callOf(s)
	c.Instance = 3
	_, _, rec, err := outcome(newHop(t), t.Context(), c)
	f := fault.As(err)
	if f == nil || f.Hop != fault.Upstream || f.Phase != fault.Session || f.Kind != fault.NotFound || f.HTTPStatus() != 404 || rec.Attempts != 0 {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(f.Hint, "initialize again") {
		t.Error(f.Hint)
	}
}

// The legs of a one-shot call meet the instance that gave the session.
func TestAOneShotCallStaysWithItsInstance(t *testing.T) {
	a, b := mcptest.Start(t, &mcptest.Stateful{}), mcptest.Start(t, &mcptest.Stateful{})
	s := instances(t, table.Resilience{}, a.URL, b.URL)
	h := newHop(t)
	const calls = 64 // chance gives none of so many to one of two
	for range calls {
		c := listOf(s)
		var rec telemetry.Record
		if err := h.OneShot(t.Context(), c, &rec, time.Now()); err != nil || c.Session == "" || c.Instance == 0 {
			t.Fatal(c.Session, c.Instance, err)
		}
		if status, body, _, err := outcome(h, t.Context(), c); err != nil || status != http.StatusOK {
			t.Fatal(status, body, err)
		}
		h.Goodbye(t.Context(), c)
	}
	if len(a.Seen())%4 != 0 || len(b.Seen())%4 != 0 || len(a.Seen()) == 4*calls || len(b.Seen()) == 4*calls {
		t.Errorf("%d and %d requests", len(a.Seen()), len(b.Seen()))
	}
}
