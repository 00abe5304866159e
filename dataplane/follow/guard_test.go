package follow_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// numbered returns n names, s00, s01, ...
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("s%02d", i))
	}
	return names
}

func anotherEpoch(u *syncv1.Update) { u.Epoch = "02EPOCH" }

func TestAnEmptyStoreOfAnotherEpochTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		full, few := set(t, numbered(30)...), set(t, "s00", "new")
		p, _ := c.accept(t, full, 900)
		p.push(nil, full, 900)
		p.ack(t)
		p.push(nil, few, 3, anotherEpoch)
		a, d := p.ack(t), full.Digest()
		if !a.GetRefused() || !bytes.Equal(a.GetDigest(), d[:]) || !strings.Contains(a.GetReason(), "lacks 29 of the 30 objects") {
			t.Fatalf("answer %v", a)
		}
		serves(t, n, 900, numbered(30)...)
		if n.Status().Held == "" {
			t.Error("the status doesn't say that an update is held")
		}

		t.Log("a control plane that knew what is held here has asked somebody")
		p.push(full, few, 4, anotherEpoch)
		if a := p.ack(t); a.GetRefused() {
			t.Fatalf("answer %v", a)
		}
		serves(t, n, 4, "new", "s00")
		if held := n.Status().Held; held != "" {
			t.Errorf("still held: %s", held)
		}
	})
}

func TestAnotherEpochMayTakeALittleAway(t *testing.T) {
	for _, tc := range []struct{ before, after int }{{30, 24}, {10, 1}} {
		synctest.Test(t, func(t *testing.T) {
			c := newControl()
			n := start(t, c, t.TempDir())
			full, less := set(t, numbered(tc.before)...), set(t, numbered(tc.after)...)
			p, _ := c.accept(t, full, 900)
			p.push(nil, full, 900)
			p.ack(t)
			p.push(nil, less, 3, anotherEpoch)
			if a := p.ack(t); a.GetRefused() {
				t.Fatalf("%d of %d: answer %v", tc.after, tc.before, a)
			}
			serves(t, n, 3, numbered(tc.after)...)
		})
	}
}

func TestAnotherEpochMayNotTakeTheLastServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		one, other := set(t, "a"), set(t, "b")
		p, _ := c.accept(t, one, 900)
		p.push(nil, one, 900)
		p.ack(t)
		p.push(nil, confset.Empty(), 3, anotherEpoch)
		if a := p.ack(t); !a.GetRefused() || !strings.Contains(a.GetReason(), "held: ") {
			t.Fatalf("answer %v", a)
		}
		serves(t, n, 900, "a")
		p.push(nil, other, 4, anotherEpoch)
		if a := p.ack(t); a.GetRefused() {
			t.Fatalf("another server in its place: answer %v", a)
		}
		serves(t, n, 4, "b")
	})
}

func TestARestartedDataPlaneHoldsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		n := start(t, c, dir)
		full := set(t, numbered(30)...)
		p, _ := c.accept(t, full, 900)
		p.push(nil, full, 900)
		p.ack(t)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n = start(t, c, dir)
		p, _ = c.accept(t, confset.Empty(), 2)
		p.push(nil, confset.Empty(), 2, anotherEpoch)
		if a := p.ack(t); !a.GetRefused() {
			t.Fatalf("answer %v", a)
		}
		serves(t, n, 900, numbered(30)...)
	})
}

func TestARevisionDoesNotGoBackWithAReplicaThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl()
		n := start(t, c, t.TempDir())
		a, b := set(t, "a"), set(t, "b")
		p, _ := c.accept(t, a, 8)
		p.push(nil, a, 8)
		p.ack(t)
		p.push(a, b, 9)
		p.ack(t)
		p.push(b, a, 10)
		p.ack(t)
		p.end()
		t.Log("another replica stands at revision 8, which has the same config as revision 10")
		p, _ = c.accept(t, a, 8)
		p.next(t) // what stands against the config that was brought along
		p.push(a, b, 9)
		if got := p.ack(t); !got.GetRefused() {
			t.Errorf("revision 9 is taken after revision 10: %v", got)
		}
		serves(t, n, 10, "a")
	})
}
