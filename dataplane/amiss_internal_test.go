package dataplane

import (
	"testing"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Red without the second loop of fill: a breaker that a probe closes has no traffic to go with.
func TestTheEndOfTroubleIsToldWithoutTraffic(t *testing.T) {
	var a amiss
	open := []string{"http://a/mcp"}
	look := func(server string) ([]string, []string) {
		if server == "broken" {
			return open, nil
		}
		return nil, nil
	}
	first := a.fill([]*syncv1.UpstreamHealth{{Server: "broken", Error: "refused"}, {Server: "well", Ok: true}}, look)
	if len(first) != 2 || len(first[0].GetOpen()) != 1 || len(first[1].GetOpen()) != 0 {
		t.Fatalf("%v", first)
	}
	if again := a.fill(nil, look); len(again) != 0 {
		t.Errorf("nothing is new, and told is %v", again)
	}
	open = nil
	end := a.fill(nil, look)
	if len(end) != 1 || end[0].GetServer() != "broken" || end[0].GetError() != "refused" || len(end[0].GetOpen()) != 0 {
		t.Errorf("the end is told as %v", end)
	}
	if after := a.fill(nil, look); len(after) != 0 {
		t.Errorf("told twice: %v", after)
	}
}
