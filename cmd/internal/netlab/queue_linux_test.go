package netlab

import (
	"math"
	"testing"
	"time"
)

// clock is the time that a queue is told.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

// arrivals empties the queue and says after how long each packet came, by its first byte.
func arrivals(q *queue, c *clock) map[byte]time.Duration {
	out, began := map[byte]time.Duration{}, c.now
	for {
		data, ok := q.pop(c.now)
		if ok {
			out[data[0]] = c.now.Sub(began)
			continue
		}
		due, ok := q.next()
		if !ok {
			return out
		}
		c.now = due
	}
}

func TestDelayHoldsEachPacketForItsTime(t *testing.T) {
	q, c := &queue{}, newClock()
	q.push(c.now, []byte{1}, Conditions{Delay: 40 * time.Millisecond}, 0.5, 0.5)
	c.pass(39 * time.Millisecond)
	if _, ok := q.pop(c.now); ok {
		t.Fatal("a packet came before its time")
	}
	c.pass(time.Millisecond)
	if data, ok := q.pop(c.now); !ok || data[0] != 1 {
		t.Fatalf("after the delay came %v %v", data, ok)
	}
	if _, ok := q.next(); ok {
		t.Error("the queue isn't empty")
	}
}

func TestPacketsDontOvertakeEachOther(t *testing.T) {
	q, c := &queue{}, newClock()
	slow := Conditions{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond}
	q.push(c.now, []byte{1}, slow, 0.5, 0.5) // due after 20 ms
	c.pass(time.Millisecond)
	q.push(c.now, []byte{2}, slow, 0.5, 0)           // 11 ms, had it no one before it
	q.push(c.now, []byte{3}, Conditions{}, 0.5, 0.5) // at once, had it no one before it
	if got := arrivals(q, c); got[1] != 19*time.Millisecond || got[2] != got[1] || got[3] != got[1] {
		t.Errorf("arrived after %v", got)
	}
}

func TestRateSendsOnePacketAfterTheOtherAndDropsWhatComesTooMuch(t *testing.T) {
	q, c := &queue{}, newClock()
	narrow := Conditions{Delay: 40 * time.Millisecond, Rate: 256_000} // 1,000 bytes take 31.25 ms
	for i := range 20 {
		data := make([]byte, 1000)
		data[0] = byte(i)
		q.push(c.now, data, narrow, 0.5, 0.5)
	}
	got := arrivals(q, c)
	if got[0] != 71250*time.Microsecond || got[1] != 102500*time.Microsecond {
		t.Errorf("the first came after %s, the second after %s", got[0], got[1])
	}
	if want := int64(9); q.traffic.Carried != want || q.traffic.Dropped != 20-want { // the tenth would wait for 281 ms
		t.Errorf("traffic %+v, want %d carried", q.traffic, want)
	}
	if q.push(c.now, []byte{1}, narrow, 0.5, 0.5); len(q.waiting) != 1 {
		t.Error("a line that has caught up takes nothing")
	}
}

func TestLossIsDrawnForEachPacket(t *testing.T) {
	q, c := &queue{}, newClock()
	for i := range 100 {
		q.push(c.now, []byte{byte(i)}, Conditions{Loss: 0.05}, float64(i)/100, 0.5)
	}
	if got := arrivals(q, c); len(got) != 95 || q.traffic.Lost != 5 {
		t.Errorf("%d of 100 came, %+v", len(got), q.traffic)
	}
}

func TestCutSwallowsWhatIsOnItsWayAndHealedGoesOn(t *testing.T) {
	q, c := &queue{}, newClock()
	far := Conditions{Delay: time.Second, Rate: 16_000}
	q.push(c.now, []byte{1}, far, 0.5, 0.5)
	q.sever(true)
	q.push(c.now, []byte{2}, far, 0.5, 0.5)
	q.sever(false)
	q.push(c.now, []byte{3}, Conditions{}, 0.5, 0.5)
	got := arrivals(q, c)
	if at, ok := got[3]; len(got) != 1 || !ok || at != 0 || q.traffic.Cut != 2 || q.bytes != 0 {
		t.Errorf("came %v, %+v, %d bytes left", got, q.traffic, q.bytes)
	}
}

func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	q, c := &queue{}, newClock()
	data := make([]byte, 1<<20)
	for range 20 {
		q.push(c.now, data, Conditions{Delay: time.Second}, 0.5, 0.5)
	}
	if len(q.waiting) != 16 || q.traffic.Dropped != 4 {
		t.Errorf("%d MiB wait, %+v", len(q.waiting), q.traffic)
	}
}

func TestConditionsOutOfBoundsAreRefusedByName(t *testing.T) {
	for want, c := range map[string]Conditions{
		"delay: it must be 0 to 10 s":                                     {Delay: -1},
		"jitter: it must be 0 to 10 s":                                    {Jitter: 11 * time.Second},
		"loss: it must be 0 to 1":                                         {Loss: math.NaN()},
		"rate: it must be 0 (no limit) or at least 16000 bits per second": {Rate: 56},
	} {
		if err := c.check(); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
	if err := (Conditions{Delay: time.Second, Jitter: time.Second, Loss: 1, Rate: minRate}).check(); err != nil {
		t.Error(err)
	}
}
