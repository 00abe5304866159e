package telemetry_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestErrorLineForPeople(t *testing.T) {
	k := newKit(t, nil)
	k.tell(refused())
	want := `level=ERROR msg="upstream/connect/refused - tools/call echo failed - Server: http://localhost:3001, Transport: streamable_http: ` +
		`dial tcp 127.0.0.1:3001: connect: connection refused" server=everything caller=alice client=127.0.0.1:57230 status=502 after=2ms trace_id=`
	if got := k.errors.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestErrorLineForMachines(t *testing.T) {
	out := &buffer{}
	k := newKit(t, func(c *telemetry.Config) {
		c.Format, c.Log = telemetry.FormatJSON, slog.New(slog.NewJSONHandler(out, nil))
	})
	k.tell(refused())
	got := decode(t, strings.TrimSpace(out.String()))
	for key, want := range map[string]any{
		"level": "ERROR", "msg": "hop failed", "hop": "upstream", "phase": "connect", "kind": "refused", "remote": false, "server": "everything",
		"url": "http://localhost:3001", "transport": "streamable_http", "method": "tools/call", "tool": "echo", "caller": "alice",
		"cause": string(errRefused), "status": 502.0,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestErrorLineWithoutMethodNamesTheRequest(t *testing.T) {
	k := newKit(t, nil)
	r := refused()
	r.Method, r.Tool, r.UpstreamOrigin = "", "", ""
	r.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated, Message: "No valid key."}
	k.tell(r)
	if got := k.errors.String(); !strings.Contains(got, `msg="client/auth/unauthenticated - POST /everything/mcp failed: No valid key."`) {
		t.Error(got)
	}
}

// Clients find out by server/discover which era a server speaks: a no is an answer, not something to mend.
func TestAProbeOfAnotherEraIsNoError(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		f      *fault.Error
		level  string
	}{
		{"server/discover", 400, &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Malformed, Remote: true}, "INFO"},
		{"server/discover", 0, &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported}, "INFO"},
		{"server/discover", 502, &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Unavailable, Remote: true}, "ERROR"},
		{"tools/list", 400, &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Malformed, Remote: true}, "ERROR"},
	} {
		k := newKit(t, nil)
		r := refused()
		r.Method, r.UpstreamStatus, r.Fault = c.method, c.status, c.f
		k.tell(r)
		if got := k.errors.String(); !strings.HasPrefix(got, "level="+c.level) && !strings.Contains(got, " level="+c.level) {
			t.Errorf("%s %d: %s", c.method, c.status, got)
		}
	}
}

func TestErrorLinesCannotBeForged(t *testing.T) {
	k := newKit(t, nil)
	r := refused()
	r.Tool, r.Caller = "x\nlevel=ERROR msg=forged", "y\u2028\x1b[2J"
	r.Fault.Err = plainError("peer said:\r\n07:22:00 - HOPGATE:ERROR: forged" + strings.Repeat("!", 100_000))
	k.tell(r)
	if got := k.errors.String(); strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\u2028\r") || len(got) > 2000 {
		t.Errorf("%d bytes: %.600q", len(got), got)
	}
}

func TestErrorLinesOfOneFailureAreTenPerSecond(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer = nil, nil })
	at := func(d time.Duration, server string) {
		r := refused()
		r.Server, r.End = server, t0.Add(d)
		k.tell(r)
	}
	for range 50 {
		at(0, "everything")
	}
	at(0, "another")
	at(1100*time.Millisecond, "everything")
	lines := strings.Split(strings.TrimSpace(k.errors.String()), "\n")
	if len(lines) != 12 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		if has := strings.Contains(line, "suppressed="); has != (i == 11) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if !strings.Contains(lines[11], "suppressed=40") {
		t.Error(lines[11])
	}
}

func TestSuccessesMakeNoErrorLine(t *testing.T) {
	k := newKit(t, nil)
	k.tell(call())
	if got := k.errors.String(); got != "" {
		t.Error(got)
	}
}
