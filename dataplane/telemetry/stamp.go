package telemetry

import (
	"sync/atomic"
	"time"
)

// stamp is a second as text. Lines of the same second share it, which makes a time cost a tenth of formatting it.
type stamp struct {
	unix int64
	text [20]byte // 2006-01-02T15:04:05.
}

var lastStamp atomic.Pointer[stamp]

// appendTime appends t as RFC 3339 in UTC with microseconds, such as 2026-11-23T07:22:00.024000Z. Years have four digits.
func appendTime(dst []byte, t time.Time) []byte {
	s := lastStamp.Load()
	if unix := t.Unix(); s == nil || s.unix != unix {
		s = &stamp{unix: unix}
		copy(s.text[:], t.UTC().AppendFormat(make([]byte, 0, 32), "2006-01-02T15:04:05."))
		lastStamp.Store(s)
	}
	dst = append(dst, s.text[:]...)
	us := t.Nanosecond() / 1000
	for unit := 100_000; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+us/unit%10))
	}
	return append(dst, 'Z')
}
