package follow_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/confset"
)

// bring lets a fresh follower serve a set until it is good.
func bring(t *testing.T, c *control, dir string, s *confset.Set, rev int64) {
	t.Helper()
	n := start(t, c, dir)
	p, _ := c.accept(t, s, rev)
	p.push(nil, s, rev)
	p.ack(t)
	time.Sleep(32 * time.Second) // virtual
	n.crash()
}

func TestARestartWithoutControlPlaneServesTheLastGoodConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		good := set(t, "a", "b")
		bring(t, c, dir, good, 3)
		n := start(t, c, dir)
		if !n.boot.Loaded || n.boot.Objects != 2 || n.boot.Suspect != nil || len(n.boot.Problems) > 0 {
			t.Errorf("boot %+v", n.boot)
		}
		serves(t, n, 3, "a", "b")
		if st := n.Status(); !st.Loaded || st.Connected || st.Suspect {
			t.Errorf("status %+v", st)
		}
		_, h := c.accept(t, good, 3)
		if d := good.Digest(); !bytes.Equal(h.GetDigest(), d[:]) {
			t.Errorf("hello %v", h)
		}
	})
}

func TestACleanStopKeepsConfigThatIsNotYetGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		n := start(t, c, dir)
		p, _ := c.accept(t, set(t, "a"), 1)
		p.push(nil, set(t, "a"), 1)
		p.ack(t)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n = start(t, c, dir)
		if n.boot.Suspect != nil {
			t.Errorf("suspect %+v", n.boot.Suspect)
		}
		serves(t, n, 1, "a")
	})
}

func TestUnhealthyServingProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		n := start(t, c, dir, func(cfg *follow.Config) { cfg.Healthy = func() bool { return false } })
		p, _ := c.accept(t, set(t, "a"), 1)
		p.push(nil, set(t, "a"), 1)
		p.ack(t)
		time.Sleep(10 * time.Minute)
		n.crash()
		if n = start(t, c, dir); n.boot.Suspect == nil || n.boot.Loaded {
			t.Errorf("boot %+v; want a suspect and nothing loaded", n.boot)
		}
	})
}

func TestACrashOnNewConfigIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		good, bad := set(t, "a"), set(t, "a", "bomb")
		bring(t, c, dir, good, 1)
		n := start(t, c, dir)
		p, _ := c.accept(t, bad, 2)
		p.push(good, bad, 2)
		p.ack(t)
		n.crash()
		digest := bad.Digest()
		for try, after := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
			began := time.Now()
			n = start(t, c, dir)
			serves(t, n, 1, "a")
			if st := n.Status(); !st.Suspect || n.boot.Suspect.Tries != try || !n.boot.TryAgain.Equal(began.Add(after)) {
				t.Fatalf("try %d: status %+v, boot %+v", try, st, n.boot)
			}
			p, h := c.accept(t, bad, 2)
			if !bytes.Equal(h.GetSuspectDigest(), digest[:]) {
				t.Errorf("hello %v", h)
			}
			p.push(good, bad, 2)
			if a := p.ack(t); !a.GetRefused() || !strings.HasPrefix(a.GetReason(), "suspect") || a.GetRevision() != 1 {
				t.Errorf("answer %v", a)
			}
			serves(t, n, 1, "a")
			p, h = c.accept(t, bad, 2)
			if d := time.Since(began); d != after || len(h.GetSuspectDigest()) > 0 {
				t.Errorf("back after %s with %v; want %s and no suspect", d, h, after)
			}
			p.push(good, bad, 2)
			if a := p.ack(t); a.GetRefused() {
				t.Errorf("answer %v", a)
			}
			serves(t, n, 2, "a", "bomb")
			n.crash()
		}
		n = start(t, c, dir)
		p, _ = c.accept(t, bad, 2)
		p.push(good, bad, 2)
		if a := p.ack(t); !a.GetRefused() || !strings.Contains(a.GetReason(), "change the config") {
			t.Errorf("answer %v", a)
		}
		time.Sleep(24 * time.Hour)
		if !n.Status().Connected || !n.Status().Suspect {
			t.Errorf("status %+v: no more tries, and no reason to reconnect", n.Status())
		}
		t.Log("another config clears it")
		mended := set(t, "a", "c")
		p.push(good, mended, 3)
		if a := p.ack(t); a.GetRefused() || n.Status().Suspect {
			t.Errorf("answer %v, status %+v", a, n.Status())
		}
		serves(t, n, 3, "a", "c")
	})
}

func TestAFirstConfigIsTriedAgainAtOnceAndThenHeldOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		first := set(t, "bomb")
		for boot, after := range []time.Duration{0, 0, time.Minute, 5 * time.Minute} {
			began := time.Now()
			n := start(t, c, dir)
			p, h := c.accept(t, first, 1)
			if after > 0 {
				if len(h.GetSuspectDigest()) == 0 {
					t.Errorf("boot %d: hello %v", boot, h)
				}
				p, _ = c.accept(t, first, 1)
			}
			p.push(nil, first, 1)
			if a := p.ack(t); a.GetRefused() || time.Since(began) != after {
				t.Errorf("boot %d: answer %v after %s, want %s", boot, a, time.Since(began), after)
			}
			n.crash()
		}
		n := start(t, c, dir)
		if !n.boot.TryAgain.IsZero() || n.boot.Loaded {
			t.Errorf("boot %+v", n.boot)
		}
	})
}

func TestASuspectThatServesWellIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		good, next := set(t, "a"), set(t, "a", "b")
		bring(t, c, dir, good, 1)
		n := start(t, c, dir)
		p, _ := c.accept(t, next, 2)
		p.push(good, next, 2)
		p.ack(t)
		n.crash()
		n = start(t, c, dir)
		c.accept(t, next, 2) // held off
		p, _ = c.accept(t, next, 2)
		p.push(good, next, 2)
		p.ack(t)
		time.Sleep(time.Minute)
		if n.Status().Suspect {
			t.Error("still suspect")
		}
		n.crash()
		serves(t, start(t, c, dir), 2, "a", "b")
	})
}

// fall lets a follower that serves good crash on bad.
func fall(t *testing.T, c *control, dir string, good, bad *confset.Set) {
	t.Helper()
	bring(t, c, dir, good, 1)
	n := start(t, c, dir)
	p, _ := c.accept(t, bad, 2)
	p.push(good, bad, 2)
	p.ack(t)
	n.crash()
}

func TestASuspectThatIsNotWantedAnyMoreIsForgotten(t *testing.T) {
	for name, restore := range map[string]func(*testing.T, *control, *confset.Set, *confset.Set){
		"before it connects": func(t *testing.T, c *control, good, _ *confset.Set) {
			p, _ := c.accept(t, good, 3)
			p.ack(t) // of update 0
		},
		"while it is connected": func(t *testing.T, c *control, good, bad *confset.Set) {
			p, _ := c.accept(t, bad, 2)
			p.push(good, good, 3)
			p.ack(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, dir := newControl(), t.TempDir()
				good, bad := set(t, "a"), set(t, "a", "bomb")
				fall(t, c, dir, good, bad)
				n := start(t, c, dir)
				restore(t, c, good, bad)
				if n.Status().Suspect {
					t.Error("still suspect")
				}
				time.Sleep(10 * time.Minute)
				if len(c.peers) > 0 || !n.Status().Connected {
					t.Error("it connected anew to try what nobody wants")
				}
				n.crash()
				n = start(t, c, dir)
				serves(t, n, 1, "a")
				if n.boot.Suspect != nil {
					t.Errorf("after a restart: suspect %+v", n.boot.Suspect)
				}
			})
		})
	}
}

func TestAControlPlaneThatIsBehindForgivesNoSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		good, bad := set(t, "a"), set(t, "a", "bomb")
		fall(t, c, dir, good, bad)
		n := start(t, c, dir)
		p, _ := c.accept(t, good, 1)
		p.ack(t) // of update 0
		if !n.Status().Suspect {
			t.Error("it is forgiven by who never knew it")
		}
	})
}

func TestEveryConfigIsGoodOnceItHasServedLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), t.TempDir()
		sets := []*confset.Set{set(t, "a"), set(t, "a", "b"), set(t, "a", "b", "c"), set(t, "a", "b", "c", "d")}
		n := start(t, c, dir)
		p, _ := c.accept(t, sets[0], 1)
		p.push(nil, sets[0], 1)
		p.ack(t)
		for i := 1; i < len(sets); i++ {
			time.Sleep(10 * time.Second) // virtual
			p.push(sets[i-1], sets[i], int64(i+1))
			p.ack(t)
		}
		time.Sleep(22 * time.Second)
		n.crash()
		n = start(t, c, dir)
		serves(t, n, 3, "a", "b", "c")
	})
}

func TestConfigIsServedWhenTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newControl(), filepath.Join(t.TempDir(), "state")
		n := start(t, c, dir)
		first := set(t, "a")
		p, _ := c.accept(t, first, 1)
		t.Log("the directory goes away; the open journal can still be written, a new generation can't")
		p.push(nil, first, 1)
		p.ack(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		n.Close() // every write fails from here
		second := set(t, "a", "b")
		p.push(first, second, 2)
		if a := p.ack(t); a.GetRefused() || len(a.GetOutcomes()) > 0 {
			t.Errorf("answer %v", a)
		}
		serves(t, n, 2, "a", "b")
		if n.Status().DiskError == nil {
			t.Error("the status doesn't say that the disk fails")
		}
		if err := n.stop(); err == nil {
			t.Error("the stop couldn't be marked clean, and Run says nothing")
		}
	})
}

func TestAnUnusableStateDirectoryFailsTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, newControl(), t.TempDir())
	f, err := follow.New(follow.Config{Node: "n", Addresses: []string{"a"}, Dial: newControl().dial, Table: n.table, Dir: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Boot(); err == nil {
		t.Error("Boot says nothing")
	}
}
