package telemetry_test

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// failed is a call that ended with a fault.
func failed(f *fault.Error) *telemetry.Record {
	r := refused()
	r.Fault = f
	return r
}

func TestCallsAndFailuresAreCountedPerServerUntilTheyAreReported(t *testing.T) {
	k := newKit(t, nil)
	gone := refused()
	gone.Server = "gone"
	k.tell(call())
	k.tell(call())
	k.tell(gone)
	if !k.Failing() {
		t.Error("a call failed and nothing says so")
	}
	got := k.ServerCalls()
	if len(got) != 2 || got[0].Server != "gone" || got[0].Calls != 1 || got[0].Failed != 1 ||
		got[1].Server != "everything" || got[1].Calls != 2 || got[1].Failed != 0 {
		t.Error(got)
	}
	if again := k.ServerCalls(); len(again) != 0 || k.Failing() {
		t.Errorf("told twice: %v, failing %v", again, k.Failing())
	}
	k.tell(call())
	if got = k.ServerCalls(); len(got) != 1 || got[0].Calls != 1 || got[0].Failed != 0 || k.Failing() {
		t.Error(got, k.Failing())
	}
}

func TestWhatCountsAsAFailedCall(t *testing.T) {
	rpcError, toolError, local := call(), call(), call()
	rpcError.Outcome, toolError.Outcome, local.Upstream = "-32603", "tool_error", telemetry.Timing{}
	credential := failed(&fault.Error{Hop: fault.AuthServer, Phase: fault.Token, Kind: fault.Denied})
	credential.Credential.Start, credential.Upstream = t0, telemetry.Timing{}
	caller := failed(&fault.Error{Hop: fault.AuthServer, Phase: fault.Metadata, Kind: fault.Unavailable})
	caller.Upstream = telemetry.Timing{}
	late := call()
	late.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Stream, Kind: fault.Reset}
	for what, c := range map[string]struct {
		record        *telemetry.Record
		calls, failed int64
	}{
		"answered":                             {call(), 1, 0},
		"a JSON-RPC error":                     {rpcError, 1, 0},
		"a tool's error":                       {toolError, 1, 0},
		"settled here":                         {local, 0, 0},
		"refused connection":                   {refused(), 1, 1},
		"no answer in time":                    {failed(&fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.TimedOut}), 1, 1},
		"status 500":                           {failed(&fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Internal, Remote: true}), 1, 1},
		"status 401":                           {failed(&fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Unauthenticated, Remote: true}), 1, 1},
		"status 429":                           {failed(&fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Exhausted, Remote: true}), 0, 0},
		"a session that is gone":               {failed(&fault.Error{Hop: fault.Upstream, Phase: fault.Session, Kind: fault.NotFound, Remote: true}), 0, 0},
		"no token for the server":              {credential, 1, 1},
		"the caller couldn't be authenticated": {caller, 0, 0},
		"the caller left before an answer":     {failed(&fault.Error{Hop: fault.Client, Phase: fault.Stream, Kind: fault.Reset}), 0, 0},
		"the caller left after the answer":     {late, 1, 0},
	} {
		k := newKit(t, nil)
		k.tell(c.record)
		var calls, failures int64
		for _, s := range k.ServerCalls() {
			calls, failures = calls+s.Calls, failures+s.Failed
		}
		if calls != c.calls || failures != c.failed {
			t.Errorf("%s: %d calls, %d failed; want %d and %d", what, calls, failures, c.calls, c.failed)
		}
	}
}

func TestFailuresComeFirstInAReportOfCallsAndTheRestWithTheNext(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer, c.Log = nil, nil, nil })
	for i := range 1500 {
		r := call()
		if i >= 1400 {
			r = refused()
		}
		r.Server = fmt.Sprintf("s%04d", i)
		k.tell(r)
	}
	first, second := k.ServerCalls(), k.ServerCalls()
	if len(first) != 1000 || len(second) != 500 || first[0].Server != "s1400" || first[99].Failed != 1 || first[100].Server != "s0000" {
		t.Errorf("%d, then %d; %v", len(first), len(second), first[:1])
	}
	if k.Failing() {
		t.Error("failing after all was told")
	}
}

// Red when a refused era, method or session, or the caller's own mistake, counts as a failure: clients would stop staged changes, and operators look
// for what is well.
func TestARefusedEraSpeaksAgainstNobody(t *testing.T) {
	remote := func(status int, k fault.Kind) *fault.Error {
		return &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: k, Remote: true, UpstreamStatus: status}
	}
	ours := &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Code: fault.CodeVersion}
	for _, c := range []struct {
		what, method, outcome string
		fault                 *fault.Error
		excused               bool
	}{
		{"discover to a legacy server", "server/discover", "", remote(400, fault.Malformed), true},
		{"initialize to a modern server", "initialize", "-32022", remote(400, fault.Unsupported), true},
		{"an unknown method, in the words of 2026-07-28", "prompts/list", "-32601", remote(404, fault.Unsupported), true},
		{"a session wanted for discover", "server/discover", "-32001", remote(404, fault.NotFound), true},
		{"refused here", "tools/list", "", ours, true},
		{"a session that its client ended", "tools/call", "", &fault.Error{Hop: fault.Upstream, Phase: fault.Session, Kind: fault.NotFound, Remote: true,
			UpstreamStatus: 404}, true},
		{"what the caller got wrong", "tools/call", "", remote(400, fault.Malformed), true},
		{"a wrong URL", "initialize", "", remote(404, fault.NotFound), false},
		{"a wrong URL, asked by modern clients", "server/discover", "", remote(404, fault.NotFound), false},
		{"no credential", "server/discover", "-32001", remote(401, fault.Unauthenticated), false},
		{"it crashes", "server/discover", "-32603", remote(500, fault.Internal), false},
		{"no MCP", "initialize", "", &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, UpstreamStatus: 200}, false},
	} {
		k, r := newKit(t, nil), call()
		r.Method, r.Outcome, r.Fault = c.method, c.outcome, c.fault
		k.tell(r)
		calls, health := k.ServerCalls(), k.UpstreamHealth()
		if len(calls) != 1 || len(health) != 1 || (calls[0].Failed == 0) != c.excused || health[0].Ok != c.excused {
			t.Errorf("%s: %v, %v", c.what, calls, health)
		}
	}
}

// Red when the breaker's own words are told: they say nothing.
func TestHealthNamesWhatOpenedTheBreaker(t *testing.T) {
	k, r := newKit(t, nil), call()
	r.Fault = &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.CircuitOpen, Server: "everything",
		Err: &fault.Error{Hop: fault.Upstream, Phase: fault.DNS, Kind: fault.NotFound}}
	k.tell(r)
	if got := k.UpstreamHealth(); len(got) != 1 || got[0].Error != "hop=upstream; phase=dns; kind=not_found; server=everything" {
		t.Error(got)
	}
}
