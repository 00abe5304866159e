package follow

import (
	"testing"
	"time"
)

func TestReportsAreBunchedWhereSecondsBegin(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now    time.Duration
		second int
		want   time.Duration
	}{{0, 0, 10 * time.Second}, {0, 3, 3 * time.Second}, {2500 * time.Millisecond, 3, 500 * time.Millisecond}, {3 * time.Second, 3, 10 * time.Second},
		{9999 * time.Millisecond, 9, 9001 * time.Millisecond}} {
		if got := untilMark(at.Add(c.now), c.second); got != c.want {
			t.Errorf("%s after the minute, second %d: %s, want %s", c.now, c.second, got, c.want)
		}
	}
}
