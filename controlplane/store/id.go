package store

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// NextID makes the id of a change: a ULID of the time now that sorts behind the newest change that is known, also when the clock is behind it.
func NextID(now time.Time, newest string) string {
	ms := ulid.Timestamp(now)
	if id, err := ulid.ParseStrict(newest); err == nil {
		ms = max(ms, id.Time()+1)
	}
	return ulid.MustNew(ms, ulid.DefaultEntropy()).String()
}
