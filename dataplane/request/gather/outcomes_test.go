package gather_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/proto/fault"
	faultv1 "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
)

func at(hop fault.Hop, phase fault.Phase, kind fault.Kind) *fault.Error {
	return &fault.Error{Hop: hop, Phase: phase, Kind: kind, Message: "It failed: sk-secret."}
}

func TestWordsForFaults(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, gather.OK},
		{at(fault.Upstream, fault.Connect, fault.CircuitOpen), gather.CircuitOpen},
		{at(fault.Upstream, fault.Connect, fault.TimedOut), gather.Timeout},
		{at(fault.Upstream, fault.Headers, fault.TimedOut), gather.Timeout},
		{at(fault.Gateway, fault.Limit, fault.TimedOut), gather.Timeout},
		{context.DeadlineExceeded, gather.Timeout},
		{at(fault.Upstream, fault.Headers, fault.Unauthenticated), gather.Unauthorized},
		{at(fault.Upstream, fault.Headers, fault.Denied), gather.Unauthorized},
		{at(fault.Client, fault.Auth, fault.Unauthenticated), gather.Unauthorized},
		{at(fault.AuthServer, fault.Auth, fault.NeedsReauth), gather.NeedsReauth},
		{at(fault.Upstream, fault.Auth, fault.NeedsReauth), gather.NeedsReauth},
		{at(fault.Gateway, fault.Auth, fault.NotFound), gather.Misconfigured},
		{at(fault.Gateway, fault.Route, fault.Unreachable), gather.Misconfigured},
		{at(fault.Gateway, fault.Request, fault.Internal), gather.Misconfigured},
		{at(fault.Gateway, fault.Policy, fault.CredentialLeak), gather.Misconfigured},
		{at(fault.Upstream, fault.Policy, fault.CredentialLeak), gather.Misconfigured},
		{at(fault.AuthServer, fault.Token, fault.Unauthenticated), gather.Misconfigured},
		{at(fault.AuthServer, fault.Connect, fault.Refused), gather.Unreachable},
		{at(fault.Upstream, fault.Intermediary, fault.Mismatch), gather.Misconfigured},
		{at(fault.Upstream, fault.Intermediary, fault.Denied), gather.Misconfigured},
		{at(fault.Upstream, fault.Intermediary, fault.Unavailable), gather.Unreachable},
		{at(fault.Upstream, fault.Protocol, fault.Malformed), gather.Misconfigured},
		{at(fault.Upstream, fault.Headers, fault.Unsupported), gather.Misconfigured},
		{at(fault.Upstream, fault.DNS, fault.Unreachable), gather.Unreachable},
		{at(fault.Upstream, fault.Connect, fault.Refused), gather.Unreachable},
		{at(fault.Upstream, fault.TLS, fault.Denied), gather.Unreachable},
		{at(fault.Upstream, fault.Body, fault.Reset), gather.Unreachable},
		{at(fault.Upstream, fault.Headers, fault.Internal), gather.Unreachable},
		{at(fault.Upstream, fault.Headers, fault.Unavailable), gather.Unreachable},
		{at(fault.Upstream, fault.Headers, fault.Exhausted), gather.Unreachable},
		{at(fault.Gateway, fault.Limit, fault.Exhausted), gather.Unreachable},
		{at(fault.Upstream, fault.Session, fault.NotFound), gather.Unreachable},
		{errors.New("what"), gather.Unreachable},
	} {
		if got := gather.StatusOf(c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
		if c.err != nil && gather.StatusOf(fmt.Errorf("wrapped: %w", c.err)) != c.want {
			t.Errorf("%v isn't recognised when it is wrapped", c.err)
		}
	}
}

// Each fault there can be, those of kinds that don't exist yet included, has one of the closed words, and only nothing is ok.
func TestEachFaultHasAClosedWord(t *testing.T) {
	words := map[string]bool{gather.Unreachable: true, gather.Unauthorized: true, gather.NeedsReauth: true, gather.Timeout: true,
		gather.Misconfigured: true, gather.CircuitOpen: true}
	kinds := map[fault.Kind]string{fault.CircuitOpen: gather.CircuitOpen, fault.TimedOut: gather.Timeout, fault.NeedsReauth: gather.NeedsReauth,
		fault.CredentialLeak: gather.Misconfigured, fault.Unsupported: gather.Misconfigured, fault.Unavailable: gather.Unreachable,
		fault.Exhausted: gather.Unreachable}
	for hop := range len(faultv1.Hop_name) + 1 {
		for phase := range len(faultv1.Phase_name) + 1 {
			for kind := range len(faultv1.Kind_name) + 1 {
				f := at(fault.Hop(hop), fault.Phase(phase), fault.Kind(kind))
				got := gather.StatusOf(f)
				if want, fixed := kinds[f.Kind]; !words[got] || fixed && got != want {
					t.Errorf("%v is %q", f, got)
				}
				if f.Hop == fault.Gateway && kinds[f.Kind] == "" && got != gather.Misconfigured {
					t.Errorf("%v is %q", f, got)
				}
			}
		}
	}
}

func TestOutcomesTellWordsAlone(t *testing.T) {
	late := at(fault.Upstream, fault.Headers, fault.TimedOut)
	late.Server = "github"
	got := string(gather.AppendOutcomes([]byte("x"), []gather.Outcome{{Server: "b", Status: gather.OK}, {Server: "github", Status: gather.Timeout, Err: late}}))
	if want := `x{"b":{"status":"ok"},"github":{"status":"timeout","error":"hop=upstream; phase=headers; kind=timed_out"}}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := string(gather.AppendOutcomes(nil, nil)); got != "{}" {
		t.Error(got)
	}
	if late.Server != "github" {
		t.Error("the fault was changed")
	}
}

func TestManyOutcomesAreCounted(t *testing.T) {
	for _, failed := range []int{0, 1, 255, 256, 257, 400} {
		var list []gather.Outcome
		for i := range 400 {
			o := gather.Outcome{Server: fmt.Sprintf("s%03d", i), Status: gather.OK}
			if i >= 400-failed {
				o.Status, o.Err = gather.Unreachable, at(fault.Upstream, fault.Connect, fault.Refused)
			}
			list = append(list, o)
		}
		var got map[string]struct {
			Status string
			Count  int
		}
		if err := json.Unmarshal(gather.AppendOutcomes(nil, list), &got); err != nil {
			t.Fatal(err)
		}
		named := 0
		for name, o := range got {
			if o.Status == gather.Unreachable {
				named++
			}
			if (name == "*") != (o.Count != 0) {
				t.Errorf("%s: %+v", name, o)
			}
		}
		if len(got) != 257 || got["*"].Count != 144 || named != min(failed, 256) {
			t.Errorf("%d failed: %d named, %d of them failed, %d more", failed, len(got)-1, named, got["*"].Count)
		}
	}
}

// Red when the cause isn't told: circuit_open says nothing about what to mend.
func TestAnOpenBreakerIsToldWithItsCause(t *testing.T) {
	f := at(fault.Upstream, fault.Connect, fault.CircuitOpen)
	f.Err = at(fault.Upstream, fault.DNS, fault.NotFound)
	other := at(fault.Upstream, fault.Connect, fault.Refused)
	other.Err = f.Err
	outs := []gather.Outcome{{Server: "a", Status: gather.CircuitOpen, Err: f}, {Server: "b", Status: gather.Unreachable, Err: other}}
	got := string(gather.AppendOutcomes(nil, outs))
	want := `{"a":{"status":"circuit_open","error":"hop=upstream; phase=connect; kind=circuit_open","cause":"hop=upstream; phase=dns; kind=not_found"},` +
		`"b":{"status":"unreachable","error":"hop=upstream; phase=connect; kind=refused"}}`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
