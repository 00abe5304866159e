package netlab

import "time"

// queue holds the packets of one direction of a link until they are due. It reads no clock and draws no lots: both are given to it. It isn't
// safe for several goroutines.
type queue struct {
	waiting []packet
	bytes   int       // of waiting
	free    time.Time // when the line has sent everything before
	last    time.Time // when the last one waiting is due
	traffic Traffic
	cut     bool
}

type packet struct {
	data []byte
	due  time.Time
}

// push takes a packet that a site sent at now. lot is in [0,1) and decides on loss, sway in [0,1) on jitter.
func (q *queue) push(now time.Time, data []byte, c Conditions, lot, sway float64) {
	start := later(q.free, now)
	switch {
	case q.cut:
		q.traffic.Cut++
		return
	case c.Rate > 0 && start.Sub(now) > backlog, q.bytes+len(data) > maxWaiting:
		q.traffic.Dropped++
		return
	}
	if c.Rate > 0 {
		q.free = start.Add(time.Duration(int64(len(data)) * 8 * int64(time.Second) / c.Rate))
		start = q.free
	} else {
		start = now
	}
	if lot < c.Loss { // on the way, so it took its turn on the line
		q.traffic.Lost++
		return
	}
	q.last = later(q.last, start.Add(c.Delay+time.Duration(sway*float64(c.Jitter))))
	q.waiting = append(q.waiting, packet{data, q.last})
	q.bytes += len(data)
}

// pop gives the next packet that is due at now.
func (q *queue) pop(now time.Time) (data []byte, ok bool) {
	if len(q.waiting) == 0 || q.waiting[0].due.After(now) {
		return nil, false
	}
	data = q.waiting[0].data
	q.waiting[0] = packet{}
	q.waiting = q.waiting[1:]
	q.bytes -= len(data)
	q.traffic.Carried++
	q.traffic.Bytes += int64(len(data))
	return data, true
}

// next says when the first one waiting is due.
func (q *queue) next() (due time.Time, ok bool) {
	if len(q.waiting) == 0 {
		return time.Time{}, false
	}
	return q.waiting[0].due, true
}

// sever cuts the line or heals it. What is on its way when it is cut is gone.
func (q *queue) sever(cut bool) {
	if q.cut = cut; !cut {
		return
	}
	q.traffic.Cut += int64(len(q.waiting))
	q.waiting, q.bytes = nil, 0
	q.free, q.last = time.Time{}, time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
