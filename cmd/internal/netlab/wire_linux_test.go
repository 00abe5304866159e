package netlab

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mailbox notes when packets are written to it.
type mailbox struct {
	began time.Time
	came  map[byte]time.Duration
}

func (m *mailbox) Write(data []byte) (int, error) {
	m.came[data[0]] = time.Since(m.began)
	return len(data), nil
}

func TestConditionsChangeWhilePacketsAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &mailbox{time.Now(), map[byte]time.Duration{}}
		w := newWire(box)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		w.set(Conditions{Delay: 40 * time.Millisecond})
		w.push([]byte{1})
		time.Sleep(10 * time.Millisecond)
		w.set(Conditions{Delay: 100 * time.Millisecond})
		w.push([]byte{2})
		time.Sleep(50 * time.Millisecond)
		w.sever(true) // the second one is on its way
		w.push([]byte{3})
		time.Sleep(time.Second)
		w.sever(false)
		w.push([]byte{4})
		time.Sleep(time.Second)
		cancel()
		<-done
		if len(box.came) != 2 || box.came[1] != 40*time.Millisecond || box.came[4] != 1160*time.Millisecond {
			t.Errorf("packets came after %v", box.came)
		}
		if got := w.traffic(); got != (Traffic{Carried: 2, Bytes: 2, Cut: 2}) {
			t.Errorf("traffic %+v", got)
		}
	})
}
