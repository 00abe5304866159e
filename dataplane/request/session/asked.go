package session

import (
	"encoding/binary"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
)

// MaxAskedID is the longest raw id of a server's request that is passed on, in bytes.
const MaxAskedID = 1024

// A caller may take askedLife at least to answer a server's request. The id is the same for all of a day, so that the server can take its
// request back by it (notifications/cancelled).
const (
	askedLife = 24 * time.Hour
	askedDay  = 24 * time.Hour
)

// Asked says which server sent a request to a caller, in which session, and under which id: what its answer has to find.
type Asked struct {
	Server   string // configured name
	Instance uint32 // table.Target.ID
	Session  string // the server's own session id; empty: none
	Revision string // of that session
	ID       []byte // raw JSON, a string or a number
}

// SealAsked makes the id under which a caller sees a server's request: visible ASCII (base64url), at most 6 KiB, that needs no escape in a JSON
// string. It lives for 24 to 48 hours, and is the same whenever the same is sealed on one day.
//
// Errors are *fault.Error: those of CheckUpstream; hop=upstream, phase=protocol, kind=too_large for an id longer than MaxAskedID;
// hop=gateway, kind=unavailable without a ring.
func SealAsked(ring *table.Ring, a Asked, principal, endpoint string, now time.Time) (string, error) {
	if ring == nil {
		return "", noRing()
	}
	if len(a.ID) > MaxAskedID {
		return "", tooLong(a.Server, "request id", MaxAskedID)
	}
	if err := CheckUpstream(a.Server, a.Session); err != nil {
		return "", err
	}
	var room [512]byte
	b := appendText(room[:0], a.Server)
	b = binary.BigEndian.AppendUint32(b, a.Instance)
	b = appendRevision(b, a.Revision)
	b = appendText(b, a.Session)
	b = appendText(b, a.ID)
	day := now.Truncate(askedDay)
	return sealToken(ring, seal.Token{Purpose: seal.Request, Principal: principal, Endpoint: endpoint, Issued: day, Expires: day.Add(askedDay + askedLife),
		Payload: b, Stable: true})
}

// OpenAsked returns what the id of a server's request says. Its errors are those of Open: to the caller the session is gone in which it was asked.
func OpenAsked(ring *table.Ring, token, principal, endpoint string, now time.Time) (Asked, error) {
	payload, err := seal.Open(ring, seal.Request, token, principal, endpoint, now)
	if err != nil {
		return Asked{}, theRequest.refuse(err)
	}
	r := reader{b: payload, whole: string(payload)}
	a := Asked{Server: r.text(), Instance: r.instance(), Revision: r.revision(), Session: r.text(), ID: r.bytes()}
	if !r.done() {
		return Asked{}, theRequest.malformed(errPayload)
	}
	return a, nil
}
