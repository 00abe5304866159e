package session

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
)

// cursorLife is how long a list can be walked on.
const cursorLife = time.Hour

// Cursor is the last item that a caller has seen of a list made from several. Zero: none.
type Cursor struct {
	Method string // tools/list and so on
	Server string // configured name
	Item   string // the server's own name or URI of it
}

// SealCursor makes a list's nextCursor: visible ASCII (base64url), at most 16 KiB. It lives for an hour.
//
// Errors are *fault.Error: hop=upstream, phase=protocol, kind=too_large for an item that doesn't fit (some 12,000 bytes); hop=gateway,
// kind=unavailable without a ring.
func SealCursor(ring *table.Ring, c Cursor, principal, endpoint string, now time.Time) (string, error) {
	if ring == nil {
		return "", noRing()
	}
	if most := seal.Cursor.Room() - len(c.Method) - len(c.Server) - 9; len(c.Item) > most {
		return "", tooLong(c.Server, "item name", most)
	}
	var room [512]byte
	b := appendText(room[:0], c.Method)
	b = appendText(b, c.Server)
	b = appendText(b, c.Item)
	return sealFor(ring, seal.Cursor, principal, endpoint, now, cursorLife, b)
}

// OpenCursor returns what a cursor says. Whether it is one of the list that is asked for is for the caller to look at.
//
// Errors are *fault.Error: hop=client, phase=request, kind=malformed ("bad cursor", 400 and -32602) for whatever doesn't open;
// hop=gateway, kind=unavailable without a ring.
func OpenCursor(ring *table.Ring, token, principal, endpoint string, now time.Time) (Cursor, error) {
	payload, err := seal.Open(ring, seal.Cursor, token, principal, endpoint, now)
	if err != nil {
		return Cursor{}, refuseCursor(err)
	}
	r := reader{b: payload, whole: string(payload)}
	c := Cursor{Method: r.text(), Server: r.text(), Item: r.text()}
	if !r.done() {
		return Cursor{}, badCursor("the gateway didn't issue it for this list", errPayload)
	}
	return c, nil
}
