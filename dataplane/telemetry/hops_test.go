package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestHops(t *testing.T) {
	tests := []struct {
		name   string
		record func() *telemetry.Record
		hops   string
		timing string
	}{
		{"new connection", call, "auth;ok;0.1, policy;ok;0.1, dns;ok;1.0, connect;ok;0.6, upstream;ok;23.4",
			"auth;dur=0.1, policy;dur=0.1, dns;dur=1.0, connect;dur=0.6, upstream;dur=23.4, total;dur=24.0"},
		{"reused connection", func() *telemetry.Record {
			r := call()
			u := &r.Upstream
			u.Reused, u.DNSStart, u.DNSDone, u.ConnStart, u.ConnDone = true, zero, zero, zero, zero
			return r
		}, "auth;ok;0.1, policy;ok;0.1, connect;reused, upstream;ok;23.4",
			`auth;dur=0.1, policy;dur=0.1, connect;desc="reused", upstream;dur=23.4, total;dur=24.0`},
		{"refused", refused, "auth;ok;0.1, policy;ok;0.1, dns;ok;1.0, connect;refused;0.6",
			`auth;dur=0.1, policy;dur=0.1, dns;dur=1.0, connect;desc="refused";dur=0.6, total;dur=2.0`},
		{"first byte late", func() *telemetry.Record {
			r := call()
			r.Upstream.Headers, r.Upstream.First = zero, zero
			r.Fault = &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.TimedOut}
			return r
		}, "auth;ok;0.1, policy;ok;0.1, dns;ok;1.0, connect;ok;0.6, upstream;timed_out;23.4",
			`auth;dur=0.1, policy;dur=0.1, dns;dur=1.0, connect;dur=0.6, upstream;desc="timed_out";dur=23.4, total;dur=24.0`},
		{"denied", func() *telemetry.Record {
			r := call()
			r.Routed, r.Upstream = zero, telemetry.Timing{}
			r.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Grant, Kind: fault.Denied}
			return r
		}, "auth;ok;0.1, policy;denied;23.7", `auth;dur=0.1, policy;desc="denied";dur=23.7, total;dur=24.0`},
		{"no key", func() *telemetry.Record {
			r := call()
			r.AuthEnd, r.Read, r.Routed, r.Upstream = zero, zero, zero, telemetry.Timing{}
			r.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated}
			return r
		}, "auth;unauthenticated;24.0", `auth;desc="unauthenticated";dur=24.0, total;dur=24.0`},
		{"caller left", func() *telemetry.Record {
			r := call()
			r.Fault = &fault.Error{Hop: fault.Client, Phase: fault.Stream, Kind: fault.Reset}
			return r
		}, "auth;ok;0.1, policy;ok;0.1, dns;ok;1.0, connect;ok;0.6, upstream;ok;23.4, client;reset",
			`auth;dur=0.1, policy;dur=0.1, dns;dur=1.0, connect;dur=0.6, upstream;dur=23.4, client;desc="reset", total;dur=24.0`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.record()
			if got := string(telemetry.AppendHops([]byte("> "), r)); got != "> "+tt.hops {
				t.Errorf("hops\n%s\n%s", got, tt.hops)
			}
			if got := string(telemetry.AppendServerTiming(nil, r)); got != tt.timing {
				t.Errorf("timing\n%s\n%s", got, tt.timing)
			}
		})
	}
}

// Headers are written before the request ends.
func TestHopsOfAnOpenRequest(t *testing.T) {
	now := time.Now()
	r := &telemetry.Record{Start: now.Add(-time.Second), AuthEnd: now.Add(-time.Second), Routed: now.Add(-time.Second)}
	r.Upstream = telemetry.Timing{Start: now.Add(-time.Second), Reused: true, Sent: now.Add(-time.Second), Headers: now}
	got := string(telemetry.AppendHops(nil, r))
	if !strings.HasPrefix(got, "auth;ok;0.0, policy;ok;0.0, connect;reused, upstream;ok;10") {
		t.Error(got)
	}
}
