// Package session seals what the gateway would have to remember of a caller into what the caller sees of it, so that no data plane has to
// remember anything and any of them can serve the next request: session ids of one server (Claims) and of many (Many), ids of requests that
// servers send to callers (Asked), event ids of streams made from several (Position), and cursors of lists made from several (Cursor).
//
// It promises that a token opens only as what it was made, for the principal and on the endpoint it was sealed for, until it expires, on every
// data plane that holds the ring. It refuses everything else with a fault that reads "session not found" from outside (404, which makes a
// client initialize again), or "bad cursor" for a cursor, and names the cause for the operator.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
)

// Life is how long a sealed session id is honoured; a client that holds on longer is told to initialize again.
const Life = 7 * 24 * time.Hour

// Claims is what the session id of one server says. Times are kept to the second.
type Claims struct {
	Server    string // configured name
	Upstream  string // the upstream's own session id
	Principal string // who may use it; bound, not stored
	Endpoint  string // canonical endpoint it was issued on; bound, not stored
	Revision  string // MCP revision of the session, "" when unknown
	Instance  uint32 // of the server (table.Target.ID); 0: any, and the token is one that earlier releases open
	Issued    time.Time
	Expires   time.Time
}

// MaxUpstream is the longest upstream session id that is accepted, in bytes.
const MaxUpstream = 2048

// Seal makes the token for c with the ring's sealing key. Tokens are visible ASCII (base64url).
//
// Errors are *fault.Error: hop=upstream, phase=headers when the upstream's id is longer than MaxUpstream or not visible ASCII;
// hop=gateway, kind=unavailable without a ring.
func Seal(ring *table.Ring, c Claims) (string, error) {
	if ring == nil {
		return "", noRing()
	}
	if c.Upstream == "" {
		return "", emptyUpstream(c.Server)
	}
	if err := CheckUpstream(c.Server, c.Upstream); err != nil {
		return "", err
	}
	var room [512]byte
	token, err := seal.Seal(ring, seal.Token{Purpose: seal.Session, Principal: c.Principal, Endpoint: c.Endpoint, Issued: c.Issued, Expires: c.Expires,
		Payload: appendClaims(room[:0], &c)})
	if err != nil {
		return "", unsealed(err)
	}
	return token, nil
}

// sealFor seals what lives for a fixed time.
func sealFor(ring *table.Ring, p seal.Purpose, principal, endpoint string, now time.Time, life time.Duration, payload []byte) (string, error) {
	return sealToken(ring, seal.Token{Purpose: p, Principal: principal, Endpoint: endpoint, Issued: now, Expires: now.Add(life), Payload: payload})
}

func sealToken(ring *table.Ring, t seal.Token) (string, error) {
	token, err := seal.Seal(ring, t)
	if err != nil {
		return "", unsealed(err)
	}
	return token, nil
}

// Open returns what token says if it was sealed with a key of the ring for this principal and endpoint and hasn't expired at now.
//
// Errors are *fault.Error of hop=client, phase=session, on the outside all 404 and -32001: kind=malformed for what was never a token or was
// altered, not_found for a key that isn't held, mismatch for another principal or endpoint or for a session of many, expired. Without a ring
// it is hop=gateway, kind=unavailable.
func Open(ring *table.Ring, token, principal, endpoint string, now time.Time) (Claims, error) {
	t, err := seal.OpenToken(ring, seal.Session, token, principal, endpoint, now)
	if err != nil {
		return Claims{}, theSession.refuse(err)
	}
	if isMany(t.Payload) {
		return Claims{}, otherKind()
	}
	c := Claims{Principal: principal, Endpoint: endpoint, Issued: t.Issued, Expires: t.Expires}
	if !c.read(t.Payload) {
		return Claims{}, theSession.malformed(errPayload)
	}
	return c, nil
}

// ShortHash names a token in logs and spans without giving it away: 12 hexadecimal digits. Empty for an empty token.
func ShortHash(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}
