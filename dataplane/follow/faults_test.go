package follow_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/follow"
)

// away lets every dial fail while the control plane is gone.
type away struct {
	*control
	gone  atomic.Bool
	cause error
}

func (a *away) dial(address string) (follow.Conn, error) {
	if a.gone.Load() {
		return nil, a.cause
	}
	return a.control.dial(address)
}

// The short form of an outage: config stays in force at every second of it, whatever the reason, and the data plane is back within a
// minute after.
func TestTenMinutesWithoutAControlPlaneChangeNothingThatIsServed(t *testing.T) {
	for name, cause := range map[string]error{
		"killed":              errors.New("connection refused"),
		"certificate expired": errors.New("tls: failed to verify certificate: x509: certificate has expired or is not yet valid"),
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // waits are random
				synctest.Test(t, func(t *testing.T) { outage(t, cause) })
			}
		})
	}
}

func outage(t *testing.T, cause error) {
	a := &away{control: newControl(), cause: cause}
	n := start(t, a.control, t.TempDir(), func(cfg *follow.Config) { cfg.Dial = a.dial })
	want := set(t, "a", "b")
	p, _ := a.accept(t, want, 1)
	p.push(nil, want, 1)
	p.ack(t)
	a.gone.Store(true)
	p.end()
	for range 600 {
		time.Sleep(time.Second)
		serves(t, n, 1, "a", "b")
	}
	if st := n.Status(); st.Connected || st.Age(time.Now()) < 9*time.Minute {
		t.Errorf("status %+v, age %s", st, st.Age(time.Now()))
	}
	a.gone.Store(false)
	back := time.Now()
	p, h := a.accept(t, want, 1)
	if d := want.Digest(); !bytes.Equal(h.GetDigest(), d[:]) {
		t.Errorf("hello %v", h)
	}
	p.ack(t) // what stands against the config that it came with: nothing
	if took := time.Since(back); took > time.Minute || !n.Status().Connected {
		t.Errorf("back after %s, status %+v", took, n.Status())
	}
	next := set(t, "a", "b", "c")
	p.push(want, next, 2)
	p.ack(t)
	serves(t, n, 2, "a", "b", "c")
}

func TestAnUpdateThatIsTooLargeIsRefusedWithTheNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, said := newControl(), &bytes.Buffer{}
		n := start(t, c, t.TempDir(), func(cfg *follow.Config) {
			cfg.MaxUpdate, cfg.Log = 300, slog.New(slog.NewTextHandler(said, nil))
		})
		want := set(t, "a", "b", "c", "d", "e")
		p, _ := c.accept(t, want, 1)
		p.push(nil, want, 1)
		c.accept(t, want, 1)
		serves(t, n, 0)
		if err := n.stop(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(said.String(), "more than 300 bytes") {
			t.Errorf("the log doesn't tell the number:\n%s", said)
		}
	})
}
