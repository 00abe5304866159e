package session

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// MaxPositions is how many servers' places one event id holds at most.
const MaxPositions = MaxUpstreams

// eventLife is how long a stream can be resumed.
const eventLife = 24 * time.Hour

// Position is how far a caller has seen one server's stream.
type Position struct {
	Server string // configured name
	ID     string // the server's own id of its last event
}

// SealEvents makes the event id of a stream made from several: visible ASCII (base64url), at most 4 KiB. It lives for 24 hours.
//
// Errors are *fault.Error: hop=gateway, phase=stream, kind=too_large when the positions don't fit, all together; send the event without an id.
// hop=gateway, kind=unavailable without a ring.
func SealEvents(ring *table.Ring, positions []Position, principal, endpoint string, now time.Time) (string, error) {
	if ring == nil {
		return "", noRing()
	}
	if len(positions) > MaxPositions {
		return "", noPlace()
	}
	var room [1024]byte
	b := append(room[:0], byte(len(positions)))
	for i := range positions {
		b = appendText(b, positions[i].Server)
		b = appendText(b, positions[i].ID)
		if len(b) > seal.Event.Room() {
			return "", noPlace()
		}
	}
	return sealFor(ring, seal.Event, principal, endpoint, now, eventLife, b)
}

func noPlace() error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Stream, Kind: fault.TooLarge,
		Message: "the servers' event ids are too long to be passed on together"}
}

// OpenEvents returns the positions that an event id (Last-Event-ID) says, in the order in which they were sealed. Its errors are those of Open.
func OpenEvents(ring *table.Ring, token, principal, endpoint string, now time.Time) ([]Position, error) {
	payload, err := seal.Open(ring, seal.Event, token, principal, endpoint, now)
	if err != nil {
		return nil, theEvent.refuse(err)
	}
	r := reader{b: payload, whole: string(payload)}
	n := r.number()
	if n > MaxPositions {
		return nil, theEvent.malformed(errPayload)
	}
	positions := make([]Position, n)
	for i := range positions {
		positions[i] = Position{Server: r.text(), ID: r.text()}
	}
	if !r.done() {
		return nil, theEvent.malformed(errPayload)
	}
	return positions, nil
}
