package http1

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock writes the Date field (RFC 9110 section 6.6.1), made once per second.
type clock struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	line   string
}

func (c *clock) append(b []byte, now time.Time) []byte {
	d := c.last.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &dated{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		c.last.Store(d)
	}
	return append(b, d.line...)
}
