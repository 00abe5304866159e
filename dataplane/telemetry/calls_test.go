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
