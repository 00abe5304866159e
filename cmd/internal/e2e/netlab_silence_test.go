//go:build e2e && linux

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// silence is the longest that both ends of an idle stream may not know that its path is dead: a data plane says something every two minutes, and what
// isn't acknowledged ends the connection some ten seconds later; the control plane ends its stream after 135 s without a word.
const silence = 150 * time.Second

// TestSilentlyDeadPathOfAnIdleDataPlaneIsNoticed cuts an idle data plane off, and heals the path: nobody closes a connection.
func TestSilentlyDeadPathOfAnIdleDataPlaneIsNoticed(t *testing.T) {
	t.Parallel() // all of it is waiting
	w := startWorld(t, regionsApart, "home", "eu")
	home := w.control(t, "home", "home")
	p := w.proxy(t, "eu", "eu-1", home)
	home.inSync(t, "eu-1")
	ok(t, w.lab.Isolate("eu"))
	cut := time.Now()
	connected := func(want float64) func() error {
		return func() error {
			if got := metric(t, p.Admin, "hopgate_control_connected"); got != want {
				return fmt.Errorf("hopgate_control_connected is %v", got)
			}
			return nil
		}
	}
	eventually(t, silence, "the data plane knows", connected(0))
	t.Logf("the data plane knew after %s", time.Since(cut).Round(time.Second))
	eventually(t, silence, "the control plane knows", func() error {
		for _, n := range home.nodes(t) {
			if n.GetConnected() {
				return fmt.Errorf("%s is connected", n.GetNode())
			}
		}
		return nil
	})
	t.Logf("the control plane knew after %s", time.Since(cut).Round(time.Second))
	ok(t, w.lab.Rejoin("eu"))
	healed := time.Now()
	eventually(t, 20*time.Second, "the data plane is back", connected(1))
	t.Logf("it is back %s after the path", time.Since(healed).Round(time.Millisecond))
}
