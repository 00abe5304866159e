//go:build !race

package telemetry_test

import (
	"io"
	"math"
	"testing"

	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// The race detector makes pools forget, so this runs without it.
func TestARequestAllocatesNothing(t *testing.T) {
	for _, format := range []string{telemetry.FormatOff, telemetry.FormatHuman, telemetry.FormatJSON} {
		k := newKit(t, func(c *telemetry.Config) { c.Format, c.Access = format, io.Discard })
		r, out := call(), make([]byte, 0, 128)
		k.tell(r)
		least := math.Inf(1) // others in the process allocate too, now and then
		for range 5 {
			least = min(least, testing.AllocsPerRun(200, func() {
				k.Begin(r)
				k.Step(r, telemetry.StepUpstream)
				k.Adopt(r, callerParent, otherParent, "a=1", false)
				out = telemetry.AppendTraceparent(out[:0], &r.IDs, r.Sampled)
				k.Finish(r)
			}))
		}
		if least != 0 {
			t.Errorf("%s: %v allocations a request", format, least)
		}
	}
}
