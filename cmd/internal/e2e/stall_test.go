//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// Limits are the product's. What the machine takes, because it has too much to do or stands still, is measured beside it and isn't held
// against the product, up to a point.

const (
	// shown is how long is waited for what follows an answer by itself: log lines, metrics, spans, what a server hears of an end. It is no limit
	// of the product's: what never comes is the failure.
	shown = 30 * time.Second
	// heartbeat is how often the test process wants to run, to see how late it is.
	heartbeat = 5 * time.Millisecond
	// mostStretch is by how many limits one may be stretched: beyond that even a machine that stalls all the time is no excuse.
	mostStretch = 3
)

// instant is a moment of the machine, from which on it is watched.
type instant struct {
	at            time.Time
	late, waiting time.Duration
}

// late is by how much all heartbeats were.
var late atomic.Int64

// watchMachine counts heartbeats' lateness as long as the process runs: a machine that was paused shows there and nowhere else.
func watchMachine() {
	go func() {
		last := time.Now()
		for range time.Tick(heartbeat) {
			now := time.Now()
			late.Add(int64(max(0, now.Sub(last)-2*heartbeat)))
			last = now
		}
	}()
}

func mark() instant {
	return instant{time.Now(), time.Duration(late.Load()), pressure("cpu") + pressure("io") + stolen()}
}

var pressureTotal = regexp.MustCompile(`(?m)^some .*\btotal=(\d+)$`)

// pressure is for how long, in all, somebody on the machine had work and waited for a processor or a disk; 0 where the kernel doesn't say.
func pressure(of string) time.Duration {
	b, err := os.ReadFile("/proc/pressure/" + of)
	m := pressureTotal.FindSubmatch(b)
	if err != nil || m == nil {
		return 0
	}
	us, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

var stolenTicks = regexp.MustCompile(`^cpu (?: \d+){7} (\d+) `)

// stolen is for how long, in all, each processor of a virtual machine was given to others; 0 where the kernel doesn't say.
func stolen() time.Duration {
	const tick = 10 * time.Millisecond // of every Linux that Go runs on
	b, err := os.ReadFile("/proc/stat")
	m := stolenTicks.FindSubmatch(b)
	if err != nil || m == nil {
		return 0
	}
	ticks, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * tick / time.Duration(runtime.NumCPU())
}

// stalled is for how long the machine has held up somebody since, at most all the time.
func (i instant) stalled() time.Duration {
	now := mark()
	return min(now.at.Sub(i.at), max(now.late-i.late, now.waiting-i.waiting))
}

// stretched is a limit and what the machine has stalled since, at most mostStretch limits more.
func (i instant) stretched(limit time.Duration) time.Duration {
	return limit + min(i.stalled(), mostStretch*limit)
}

// within fails the test if something that was measured since took longer than its limit on a machine that doesn't stall.
func (i instant) within(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	if took <= limit {
		return
	}
	whole := i.stretched(limit)
	told := fmt.Sprintf("%s: %s, the limit is %s, and the machine stalled for %s", what, took.Round(time.Millisecond), limit, (whole - limit).Round(time.Millisecond))
	if took > whole {
		t.Error(told)
		return
	}
	t.Log(told)
}

// promptly asks until ok returns nil, which has to be within the limit, and returns how long it took.
func promptly(t *testing.T, limit time.Duration, what string, ok func() error) (took time.Duration) {
	t.Helper()
	from := mark()
	eventually(t, mostStretch*limit+limit, what, ok)
	took = time.Since(from.at)
	from.within(t, what, took, limit)
	return took
}

// A limit is stretched by what the machine stalls, not by what the product takes.
func TestALimitStretchesByTheMachinesStallOnly(t *testing.T) {
	const limit = time.Second
	still := mark()
	if got := (instant{still.at.Add(-time.Hour), still.late, still.waiting}).stretched(limit); got > limit+limit/2 {
		t.Errorf("without a stall a limit of %s is stretched to %s", limit, got)
	}
	if got := (instant{still.at.Add(-time.Hour), still.late - 2*limit, still.waiting}).stretched(limit); got < 3*limit || got > 3*limit+limit/2 {
		t.Errorf("with a pause of %s a limit of %s is stretched to %s", 2*limit, limit, got)
	}
	if got := (instant{still.at.Add(-time.Hour), still.late, still.waiting - time.Minute}).stretched(limit); got != (1+mostStretch)*limit {
		t.Errorf("with a stall of a minute a limit of %s is stretched to %s", limit, got)
	}
	if got := (instant{still.at, still.late, still.waiting - time.Minute}).stretched(limit); got > limit+limit/2 {
		t.Errorf("a machine that stalled in no time stretches a limit of %s to %s", limit, got)
	}
}
