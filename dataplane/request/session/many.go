package session

import (
	"encoding/binary"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
)

// MaxUpstreams is how many upstream sessions one session of many holds at most.
const MaxUpstreams = 32

// Upstream is a session with one server.
type Upstream struct {
	Server   string // configured name
	Instance uint32 // table.Target.ID
	ID       string // the server's own session id; empty: it gave none
	Revision string // negotiated with this server
}

// Many is what a session id of several servers says. Times are kept to the second.
type Many struct {
	Upstreams []Upstream
	// Capabilities and ClientInfo are raw JSON objects of the caller's client; nil: none.
	Capabilities, ClientInfo []byte
	// Revision is the one that the caller's client speaks.
	Revision  string
	Principal string // who may use it; bound, not stored
	Endpoint  string // canonical endpoint it was issued on; bound, not stored
	Issued    time.Time
	Expires   time.Time
}

// Of returns what the session holds of a server.
func (m *Many) Of(server string) (u Upstream, ok bool) {
	for i := range m.Upstreams {
		if m.Upstreams[i].Server == server {
			return m.Upstreams[i], true
		}
	}
	return u, false
}

// The payload of a session of many begins with what a session of one can't begin with, a revision longer than any token, so that releases that
// know nothing of it refuse it as any token that isn't theirs. Then: shape 1 | revision | capabilities, client info (texts) | number of
// upstreams | each: server (text), instance 4, revision, id (text).
const (
	manyMark  = "\xff\x7f" // 16,383
	manyShape = 1
)

func isMany(payload []byte) bool { return len(payload) >= 2 && string(payload[:2]) == manyMark }

// SealMany makes the token for m with the ring's sealing key: visible ASCII (base64url), at most 4 KiB. The first sealed of the upstreams are
// in it, at most MaxUpstreams; calls to the others have to do without a session of the caller's. Capabilities above 1 KiB are reduced to their
// names, client info above 512 bytes to its name and version.
//
// Errors are those of Seal; an upstream's empty id is none here.
func SealMany(ring *table.Ring, m Many) (token string, sealed int, err error) {
	if ring == nil {
		return "", 0, noRing()
	}
	b := make([]byte, 0, seal.Session.Room())
	b = append(append(b, manyMark...), manyShape)
	b = appendRevision(b, m.Revision)
	b = appendText(b, shortCapabilities(m.Capabilities))
	b = appendText(b, shortClient(m.ClientInfo))
	at := len(b)
	b = append(b, 0)
	for i := range m.Upstreams[:min(len(m.Upstreams), MaxUpstreams)] {
		u := &m.Upstreams[i]
		if err := CheckUpstream(u.Server, u.ID); err != nil {
			return "", 0, err
		}
		if len(b)+u.size() > seal.Session.Room() {
			break
		}
		b = u.append(b)
		sealed++
	}
	b[at] = byte(sealed)
	token, err = seal.Seal(ring, seal.Token{Purpose: seal.Session, Principal: m.Principal, Endpoint: m.Endpoint, Issued: m.Issued, Expires: m.Expires,
		Payload: b})
	if err != nil {
		return "", 0, unsealed(err)
	}
	return token, sealed, nil
}

// size is at least as much as append appends.
func (u *Upstream) size() int {
	return len(u.Server) + 4 + 1 + len(u.Revision) + len(u.ID) + 3*binary.MaxVarintLen16
}

func (u *Upstream) append(b []byte) []byte {
	b = appendText(b, u.Server)
	b = binary.BigEndian.AppendUint32(b, u.Instance)
	b = appendRevision(b, u.Revision)
	return appendText(b, u.ID)
}

// OpenMany returns what token says if it was sealed with a key of the ring for this principal and endpoint and hasn't expired at now. Its errors
// are those of Open, with mismatch for a session of one server.
func OpenMany(ring *table.Ring, token, principal, endpoint string, now time.Time) (Many, error) {
	t, err := seal.OpenToken(ring, seal.Session, token, principal, endpoint, now)
	if err != nil {
		return Many{}, theSession.refuse(err)
	}
	if !isMany(t.Payload) {
		return Many{}, otherKind()
	}
	m := Many{Principal: principal, Endpoint: endpoint, Issued: t.Issued, Expires: t.Expires}
	if !m.read(t.Payload[len(manyMark):]) {
		return Many{}, theSession.malformed(errPayload)
	}
	return m, nil
}

func (m *Many) read(payload []byte) bool {
	r := reader{b: payload, whole: string(payload)}
	if r.number() != manyShape {
		return false
	}
	m.Revision = r.revision()
	m.Capabilities, m.ClientInfo = r.bytes(), r.bytes()
	n := r.number()
	if n > MaxUpstreams || r.bad {
		return false
	}
	m.Upstreams = make([]Upstream, n)
	for i := range m.Upstreams {
		m.Upstreams[i] = Upstream{Server: r.text(), Instance: r.instance(), Revision: r.revision(), ID: r.text()}
	}
	return r.done()
}
