package telemetry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestUpstreamHealth(t *testing.T) {
	k := newKit(t, nil)
	fine, gone := call(), refused()
	gone.Server = "gone"
	k.tell(fine)
	k.tell(gone)
	got := k.UpstreamHealth()
	if len(got) != 2 {
		t.Fatal(got)
	}
	if h := got[0]; h.Server != "everything" || !h.Ok || h.Error != "" || !h.Time.AsTime().Equal(fine.End) {
		t.Error(h)
	}
	if h := got[1]; h.Server != "gone" || h.Ok || h.Error != "hop=upstream; phase=connect; kind=refused; server=everything" {
		t.Error(h)
	}
	if again := k.UpstreamHealth(); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	back := call()
	back.Server, back.End = "gone", t0.Add(time.Minute)
	k.tell(back)
	if got = k.UpstreamHealth(); len(got) != 1 || got[0].Server != "gone" || !got[0].Ok {
		t.Error(got)
	}
}

func TestWhatSaysNothingAboutAnUpstream(t *testing.T) {
	k := newKit(t, nil)
	left := call()
	left.Upstream.Headers = zero
	left.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Stream, Kind: fault.Reset}
	k.tell(left)
	local := call()
	local.Upstream = telemetry.Timing{}
	k.tell(local)
	if got := k.UpstreamHealth(); len(got) != 0 {
		t.Error(got)
	}
	answered := call()
	answered.Outcome = "-32603"
	k.tell(answered)
	if got := k.UpstreamHealth(); len(got) != 1 || !got[0].Ok {
		t.Error(got)
	}
}

func TestOneReportNamesAtMost1000Servers(t *testing.T) {
	k := newKit(t, func(c *telemetry.Config) { c.Access, c.Tracer, c.Log = nil, nil, nil })
	for i := range 1500 {
		r := call()
		r.Server = fmt.Sprint("s", i)
		k.tell(r)
	}
	if a, b := len(k.UpstreamHealth()), len(k.UpstreamHealth()); a != 1000 || b != 500 {
		t.Errorf("%d, then %d", a, b)
	}
}
