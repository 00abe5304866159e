package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

func TestHumanAccessLine(t *testing.T) {
	k := newKit(t, nil)
	r := call()
	k.Begin(r)
	r.IDs.Trace = [16]byte{0: 0xab, 15: 0x01}
	k.Finish(r)
	want := `INFO: 127.0.0.1:57230 - "POST /everything/mcp HTTP/1.1" 200 OK method=tools/call server=everything tool=echo caller=alice ` +
		`revision=2025-11-25 session=5e55 outcome=ok auth=0.100ms route=0.050ms dns=1.000ms connect=0.600ms first_byte=18.000ms ` +
		`upstream=23.400ms total=24.000ms trace=ab000000000000000000000000000001 config=42 time=2026-11-23T07:22:00.024000Z` + "\n"
	if got := k.flush(t); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestHumanAccessLineOfAFault(t *testing.T) {
	k := newKit(t, nil)
	k.tell(refused())
	if got := k.flush(t); !strings.Contains(got, `" 502 Bad Gateway `) || !strings.Contains(got, " fault=upstream/connect/refused ") {
		t.Error(got)
	}
}

func TestJSONAccessLine(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Format = telemetry.FormatJSON })
	k.tell(call())
	k.tell(refused())
	lines := strings.Split(strings.TrimSuffix(k.flush(t), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	good, bad := decode(t, lines[0]), decode(t, lines[1])
	for key, want := range map[string]any{
		"time": "2026-11-23T07:22:00.024000Z", "level": "INFO", "msg": "access", "client": "127.0.0.1:57230", "http_method": "POST",
		"path": "/everything/mcp", "proto": "HTTP/1.1", "status": 200.0, "method": "tools/call", "server": "everything", "tool": "echo",
		"caller": "alice", "revision": "2025-11-25", "session": "5e55", "outcome": "ok", "auth_ms": 0.1, "read_ms": 0.2, "route_ms": 0.05,
		"dns_ms": 1.0, "connect_ms": 0.6, "first_byte_ms": 18.0, "upstream_ms": 23.4, "total_ms": 24.0, "config_revision": 42.0,
		"sampled": false, "upstream_status": 200.0, "attempts": 1.0,
	} {
		if good[key] != want {
			t.Errorf("%s is %v, want %v", key, good[key], want)
		}
	}
	for _, absent := range []string{"tls_ms", "hop", "phase", "kind", "prompt"} {
		if v, there := good[absent]; there {
			t.Errorf("%s is there: %v", absent, v)
		}
	}
	if bad["hop"] != "upstream" || bad["phase"] != "connect" || bad["kind"] != "refused" || bad["status"] != 502.0 {
		t.Errorf("fault members: %v", bad)
	}
}

func decode(t *testing.T, line string) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return m
}

// Whatever a caller puts into names and paths: one line per request, no pair and no member but our own.
func TestAccessLinesCannotBeForged(t *testing.T) {
	const evil = "x\" 200 OK\nINFO: forged \x1b[31m caller=admin \\ \xff\u2028 \x7f é"
	for _, format := range []string{telemetry.FormatHuman, telemetry.FormatJSON} {
		t.Run(format, func(t *testing.T) {
			k := newKit(t, func(c *telemetry.Config) { c.Format = format })
			r := call()
			r.Path, r.HTTPMethod, r.Method, r.Tool, r.Revision, r.ClientAddr, r.Outcome, r.Proto = evil, evil, evil, evil, evil, evil, evil, evil
			k.tell(r)
			got := k.flush(t)
			if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\x7f\u2028") || strings.Contains(got, "\xff") {
				t.Errorf("%q", got)
			}
			if format == telemetry.FormatJSON {
				if m := decode(t, strings.TrimSpace(got)); m["caller"] != "alice" || !strings.HasPrefix(m["tool"].(string), "x\" 200 OK\nINFO") {
					t.Error(m)
				}
			} else if n := strings.Count(got, " caller=alice "); n != 1 || strings.Contains(got, `HTTP/1.1" 200 OK caller=admin`) {
				t.Error(got)
			}
		})
	}
}

func TestAccessLinesAreCut(t *testing.T) {
	for _, format := range []string{telemetry.FormatHuman, telemetry.FormatJSON} {
		k := newKit(t, func(c *telemetry.Config) { c.Format = format })
		r := call()
		r.Tool, r.Path = strings.Repeat("ä", 100_000), "/"+strings.Repeat("\x00", 100_000)
		k.tell(r)
		if n := len(k.flush(t)); n > 4096 {
			t.Errorf("%s: %d bytes", format, n)
		}
	}
}

func TestNoAnswerSent(t *testing.T) {
	k := newKit(t, nil)
	r := call()
	r.Status = 0
	k.tell(r)
	if got := k.flush(t); !strings.Contains(got, `" 0 No answer sent method=`) {
		t.Error(got)
	}
}

// The time of each write is visible to the test's clock.
type writes struct {
	at   []time.Time
	size []int
	hold chan struct{} // nil: never blocks
}

func (w *writes) Write(p []byte) (int, error) {
	w.at, w.size = append(w.at, time.Now()), append(w.size, len(p))
	if w.hold != nil {
		<-w.hold
	}
	return len(p), nil
}

func TestLinesAreWrittenAfter100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		k := newKit(t, func(c *telemetry.Config) { c.Access = w })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		k.tell(call())
		k.tell(call())
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.at) != 1 || w.at[0].Sub(begin) != 100*time.Millisecond {
			t.Errorf("writes at %v", w.at)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func Test64KiBAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		k := newKit(t, func(c *telemetry.Config) { c.Access = w })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		begin := time.Now()
		for range 300 {
			k.tell(call())
		}
		synctest.Wait()
		if len(w.at) != 1 || !w.at[0].Equal(begin) || w.size[0] < 64<<10 {
			t.Errorf("writes at %v of %v", w.at, w.size)
		}
		cancel()
		<-done
	})
}

func TestSlowReaderLosesLinesAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{hold: make(chan struct{})}
		k := newKit(t, func(c *telemetry.Config) { c.Access, c.BufferSize = w, 64<<10 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		k.tell(call())
		time.Sleep(200 * time.Millisecond) // the writer hangs in its first write
		for range 1000 {
			k.tell(call())
		}
		lost := value(t, k.registry, "hopgate_access_dropped_total", nil)
		if lost < 700 || lost > 900 {
			t.Errorf("lost %v of 1000 lines of 380 bytes in 64 KiB", lost)
		}
		close(w.hold)
		cancel()
		<-done
		if !strings.Contains(k.errors.String(), "access lines were lost") {
			t.Errorf("log: %s", k.errors.String())
		}
		if n := value(t, k.registry, "mcp_server_operation_duration_seconds", nil); n != 1001 {
			t.Errorf("%v requests counted", n)
		}
	})
}

type broken struct{}

func (broken) Write(p []byte) (int, error) { return 0, errors.New("disk full") }

func TestFailedWritesAreCounted(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access = broken{} })
	k.tell(call())
	k.tell(call())
	k.flush(t)
	if n := value(t, k.registry, "hopgate_access_dropped_total", nil); n != 2 {
		t.Errorf("%v lines counted", n)
	}
	if !strings.Contains(k.errors.String(), "disk full") {
		t.Error(k.errors.String())
	}
}

func TestOffWritesNothing(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Format = telemetry.FormatOff })
	k.tell(call())
	if got := k.flush(t); got != "" {
		t.Error(got)
	}
}

func TestLineTimes(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_089_999, time.FixedZone("east", 3600))
	for _, want := range []string{"2026-02-03T03:05:06.007089Z", "2026-02-03T03:05:07.007089Z", "2026-02-03T03:05:08.007089Z"} {
		k := newKit(t, nil)
		r := call()
		r.End = at
		k.tell(r)
		if got := k.flush(t); !strings.HasSuffix(got, " time="+want+"\n") {
			t.Error(got)
		}
		at = at.Add(time.Second)
	}
}

// Health probes that are answered well leave no line; one that isn't does.
func TestProbesLeaveNoLine(t *testing.T) {
	for _, c := range []struct {
		path   string
		status int
		lines  bool
	}{{"/readyz", 200, false}, {"/healthz", 200, false}, {"/readyz", 503, true}} {
		k := newKit(t, nil)
		k.tell(&telemetry.Record{HTTPMethod: "GET", Path: c.path, Proto: "HTTP/1.1", Status: c.status})
		if got := k.flush(t); (got != "") != c.lines {
			t.Errorf("%s %d left %q", c.path, c.status, got)
		}
	}
}
