// Package peer hands requests to the one data plane that can serve them: the owner of something that lives in one process only, such as an
// open stream of the transport of MCP 2024-11-05.
//
// It promises that the owner sees the request as it came: the caller's headers as they were sent, and what the connection of the caller told
// (address, host, TLS, names of its certificate) in a sealed note, which the owner believes instead of its own view of the connection. A note
// holds for 30 s and for one request target, and only who has the fleet's sealing ring can make one. The owner's address is sealed as well: no
// caller can name one. It refuses to forward what was forwarded, to follow redirects, and to send anything twice.
package peer

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Header is where the note of the data plane that forwards stands.
const Header = "X-Hopgate-Forwarded"

// How long what is sealed holds.
const (
	noteLife = 30 * time.Second
	nameLife = 7 * 24 * time.Hour
	early    = 5 * time.Second // that another data plane's clock may be ahead
)

// Limits of the way to another data plane.
const (
	dialTimeout = 3 * time.Second
	headTimeout = 70 * time.Minute // above any time that a server may be given (spec.timeouts.first_byte)
	perPeer     = 256              // connections for messages; of streams there are as many as sessions
	idlePerPeer = 16
)

// Config of Peers.
type Config struct {
	// Advertise is where other data planes reach this one, like http://10.0.0.5:4000; empty: they don't.
	Advertise string
	// Table has the ring that seals. Required.
	Table *table.Holder
	// TLS towards peers with https addresses; nil: the system's authorities.
	TLS *tls.Config
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Peers are the other data planes. Safe for concurrent use.
type Peers struct {
	cfg             Config
	client, streams *http.Client // streams last, and must not keep messages waiting
}

// New checks cfg.
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
	return &Peers{cfg: cfg, client: client(cfg.TLS, perPeer), streams: client(cfg.TLS, 0)}, nil
}

// client makes a client with so many connections to one peer at most; 0: any number.
func client(secure *tls.Config, most int) *http.Client {
	way := &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSClientConfig: secure, TLSHandshakeTimeout: dialTimeout,
		ResponseHeaderTimeout: headTimeout, MaxConnsPerHost: most, MaxIdleConnsPerHost: idlePerPeer, IdleConnTimeout: time.Minute,
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	return &http.Client{Transport: way, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Close lets go of idle connections.
func (p *Peers) Close() {
	p.client.CloseIdleConnections()
	p.streams.CloseIdleConnections()
}

func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("peer: advertise: an address like http://10.0.0.5:4000 is needed, without a path, a slash at the end or a user")
	}
	return nil
}

// Name makes the token for something that this data plane owns, for one principal and endpoint. Callers may keep it; it tells them nothing.
func (p *Peers) Name(principal, endpoint, id string) (string, error) {
	now := p.cfg.Now()
	token, err := seal.Seal(p.ring(), seal.Token{Purpose: seal.Peer, Principal: principal, Endpoint: endpoint, Issued: now, Expires: now.Add(nameLife),
		Payload: appendTexts(nil, p.cfg.Advertise, id)})
	if errors.Is(err, seal.ErrNoRing) {
		return "", &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
			Message: "the gateway can't handle sessions yet: it holds no sealing key", Hint: "wait until the data plane has received its config (/readyz)"}
	}
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	return token, nil
}

// Find opens a token that a data plane made with Name. The error is a fault that reads session not found.
func (p *Peers) Find(token, principal, endpoint string) (owner, id string, err error) {
	payload, err := seal.Open(p.ring(), seal.Peer, token, principal, endpoint, p.cfg.Now())
	if err != nil {
		return "", "", notFound("the session isn't one that this gateway began for this caller on this endpoint", "begin anew", err)
	}
	all, ok := cutTexts(payload)
	if !ok || len(all) != 2 || checkAddress(all[0]) != nil {
		return "", "", notFound("the session isn't one that this gateway began", "begin anew", nil)
	}
	return all[0], all[1], nil
}

// Mine reports whether an owner can only be this data plane: it is named, or nobody is.
func (p *Peers) Mine(owner string) bool { return owner == "" || owner == p.cfg.Advertise }

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
