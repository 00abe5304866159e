package store_test

import (
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
)

func TestIDsSortBehindTheNewestAlsoWhenTheClockIsBehind(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	first := store.NextID(now, "")
	for _, at := range []time.Time{now, now.Add(-time.Hour), now.Add(time.Hour)} {
		if id := store.NextID(at, first); id <= first {
			t.Errorf("at %s: %s isn't behind %s", at, id, first)
		}
	}
	if id := store.NextID(now, "no id"); id < first[:10] {
		t.Errorf("%s after what is no id", id)
	}
}
