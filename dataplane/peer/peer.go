// Package peer hands requests to the one data plane that can serve them: the owner of something that lives in one process only, such as an
// open stream of the transport of MCP 2024-11-05.
//
// It promises that nothing of a request leaves before the owner has proved itself. An owner is a process at an address, and both are sealed in
// what callers keep: no caller can name one, and an address that has passed to somebody else, a new process of the same data plane included,
// isn't the owner's any more. Each new connection begins with a challenge that only the fleet's sealing ring opens, and only the process meant
// answers; what answers otherwise, late or at length is left, and the session is lost (404), so that the client begins anew. So is one whose
// owner is of a version that doesn't know this.
//
// It promises that the owner sees the request as it came: the caller's header and what the caller's connection told (address, host, TLS, names
// of its certificate) travel in a sealed note, which the owner believes instead of its own view. A note holds for 30 s, for one request target
// and one process, and serves once. Whoever listens between two plaintext addresses sees method, path, query and body, and the answer, but no
// header of the caller's. Bodies aren't sealed; where the network isn't trusted with them, data planes advertise https.
//
// It refuses to forward what was forwarded, what doesn't fit into a note (431), to follow redirects, and to send anything twice.
package peer

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// How long what is sealed holds.
const (
	noteLife = 30 * time.Second
	nameLife = 7 * 24 * time.Hour
	early    = 5 * time.Second // that another data plane's clock may be ahead
)

// Limits of the way to another data plane.
const (
	dialTimeout  = 3 * time.Second
	proveTimeout = 3 * time.Second
	headTimeout  = 70 * time.Minute // above any time that a server may be given (spec.timeouts.first_byte)
	idlePerPeer  = 16               // of those in use there are as many as callers' connections, which listen bounds
)

// Config of Peers.
type Config struct {
	// Advertise is where other data planes reach this one, like http://10.0.0.5:4000; empty: they don't. It must lead to this process alone,
	// not to a balancer.
	Advertise string
	// Table has the ring that seals. Required.
	Table *table.Holder
	// TLS towards peers with https addresses; nil: the system's authorities.
	TLS *tls.Config
	// Log is told, at most once a minute for each address, of owners that can't be reached or don't prove that they are; nil: nobody is.
	Log *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Peers are the other data planes. Safe for concurrent use.
type Peers struct {
	cfg    Config // read-only after New
	self   place  // read-only after New
	client *http.Transport
	notes  once
	told   quiet
}

// New checks cfg. Each Peers is an owner of its own, however many have one address.
func New(cfg Config) (*Peers, error) {
	if cfg.Table == nil {
		return nil, errors.New("peer: Table is required")
	}
	if err := checkAddress(cfg.Advertise); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	p := &Peers{cfg: cfg, self: place{address: cfg.Advertise, process: rand.Text()}}
	p.client = p.way()
	return p, nil
}

// Close lets go of idle connections.
func (p *Peers) Close() {
	p.client.CloseIdleConnections()
}

// Self is how other data planes name this one as an owner, for Forward; empty when it advertises no address.
func (p *Peers) Self() string {
	if p.self.address == "" {
		return ""
	}
	return p.self.String()
}

// Mine reports whether an owner can only be this data plane: it is named, or nobody is.
func (p *Peers) Mine(owner string) bool { return owner == "" || owner == p.Self() }

// Name makes the token for something that this data plane owns, for one principal and endpoint. Callers may keep it; it tells them nothing.
func (p *Peers) Name(principal, endpoint, id string) (string, error) {
	now := p.cfg.Now()
	token, err := seal.Seal(p.ring(), seal.Token{Purpose: seal.Peer, Principal: principal, Endpoint: endpoint, Issued: now, Expires: now.Add(nameLife),
		Payload: appendTexts(nil, p.Self(), id)})
	if errors.Is(err, seal.ErrNoRing) {
		return "", &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
			Message: "the gateway can't handle sessions yet: it holds no sealing key", Hint: "wait until the data plane has received its config (/readyz)"}
	}
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	return token, nil
}

// Find opens a token that a data plane made with Name. The error is a fault that reads session not found, also for tokens of versions whose
// owners can't prove themselves.
func (p *Peers) Find(token, principal, endpoint string) (owner, id string, err error) {
	payload, err := seal.Open(p.ring(), seal.Peer, token, principal, endpoint, p.cfg.Now())
	if err != nil {
		return "", "", notFound("the session isn't one that this gateway began for this caller on this endpoint", "begin anew", err)
	}
	all, ok := cutTexts(payload)
	if !ok || len(all) != 2 {
		return "", "", notFound("the session isn't one that this gateway began", "begin anew", nil)
	}
	if _, ok := parsePlace(all[0]); !ok && all[0] != "" {
		return "", "", notFound("the session is of an earlier version of this gateway", "begin anew", nil)
	}
	return all[0], all[1], nil
}

func (p *Peers) ring() *table.Ring { return p.cfg.Table.Load().Ring("session") }

func notFound(msg, hint string, cause error) error {
	err := request.Gone(msg, hint)
	if f := fault.As(err); f != nil {
		f.Err = cause
	}
	return err
}

func appendTexts(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

func cutTexts(b []byte) (texts []string, ok bool) {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, false
		}
		texts, b = append(texts, string(b[size:size+int(n)])), b[size+int(n):] //nolint:gosec // not more than what is there
	}
	return texts, true
}
