package netlab

import (
	"errors"
	"math"
	"time"
)

// Bounds of what a Conditions may ask for and of what waits on one direction of a link.
const (
	maxDelay = 10 * time.Second
	// backlog is how far a line with a rate may be behind; a packet that would wait longer for its turn is dropped.
	backlog = 250 * time.Millisecond
	// maxWaiting is how many bytes may be on their way in one direction.
	maxWaiting = 16 << 20
	// minRate lets a full packet through within the backlog and some.
	minRate = 16_000
)

// Conditions say how a link treats packets, the same in both directions. The zero value passes them on at once.
type Conditions struct {
	// Delay of each direction, 0 to 10 s; the round trip takes twice as long.
	Delay time.Duration
	// Jitter: up to so much is added to Delay, anew for each packet; 0 to 10 s. Packets still don't overtake each other.
	Jitter time.Duration
	// Loss is the share of packets that vanish, 0 to 1, drawn for each packet.
	Loss float64
	// Rate in bits per second of each direction, at least 16,000; 0: as fast as the machine can. A packet that would have to wait for more
	// than 250 ms until the line is free is dropped.
	Rate int64
}

func (c Conditions) check() error {
	switch {
	case c.Delay < 0 || c.Delay > maxDelay:
		return errors.New("delay: it must be 0 to 10 s")
	case c.Jitter < 0 || c.Jitter > maxDelay:
		return errors.New("jitter: it must be 0 to 10 s")
	case c.Loss < 0 || c.Loss > 1 || math.IsNaN(c.Loss):
		return errors.New("loss: it must be 0 to 1")
	case c.Rate != 0 && c.Rate < minRate:
		return errors.New("rate: it must be 0 (no limit) or at least 16000 bits per second")
	}
	return nil
}

// Traffic is what one direction of a link has done since the lab was made.
type Traffic struct {
	// Carried counts packets handed to the other site, Bytes their bytes.
	Carried, Bytes int64
	// Lost packets fell to Conditions.Loss, Dropped ones found too many before them, Cut ones met a link that was cut.
	Lost, Dropped, Cut int64
}
