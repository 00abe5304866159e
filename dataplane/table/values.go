package table

import (
	"crypto/tls"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

// Server is one MCP upstream, ready to use.
type Server struct {
	Name      string
	UID       string
	Transport string // streamable_http
	Protocol  string // auto, modern or legacy
	AuthType  string // none
	// Target is where to call from this region; nil when no endpoint is reachable from here.
	Target *Target
	// Timeouts are complete: the server's own over those of Settings over the built-in ones.
	Timeouts Timeouts
	// Hash of the body it was compiled from: while a newer version is rejected, that of the last good one.
	Hash confset.Hash

	own ownTimeouts
}

// Target is one upstream address.
type Target struct {
	Scheme   string // http or https
	Host     string // Host header: host, and port unless it is the scheme's own
	Addr     string // host:port to dial, IPv6 in brackets
	Hostname string // without brackets and port
	Port     int
	Path     string // path and query byte for byte as configured, at least "/"
	Origin   string // scheme://Host
	Masked   string // the URL for diagnostics, secrets in path and query masked
	// TLS is how to verify and speak to the server; nil for http. Shared: clone before changing.
	TLS *tls.Config
	// Key is equal for targets whose connections may be shared: same scheme, address and TLS settings.
	Key string
}

// Timeouts of one call, per phase; 0 means no limit.
type Timeouts struct {
	Connect   time.Duration // TCP and TLS together
	FirstByte time.Duration // last byte of the request to first byte of the answer
	Idle      time.Duration // between two bytes of an answer
	Total     time.Duration // the whole call
}

// Settings are the fleet-wide defaults, complete.
type Settings struct {
	Body                int64 // bytes of a request body
	Event               int64 // bytes of one server-sent event
	Result              int64 // bytes of a whole JSON answer
	Depth               int   // nesting of a request body
	StreamsPerPrincipal int   // open streams per principal on this data plane
	SampleRatio         float64
	Timeouts            Timeouts
}

// Principal is one caller. It is immutable; a changed key is another value with the same ID.
type Principal struct {
	// ID is what seals and limits hang on: "key:<uid>", "master" or "anonymous".
	ID string
	// Name stands in records: the key's name, "master" or "anonymous".
	Name string
	// User is the person or program that holds the key.
	User string
	// Hash is the SHA-256 of the whole key.
	Hash [32]byte
	// Expires is when it ends to be accepted; zero: never. Checked by request/auth.
	Expires time.Time
	// All says that every server is open to it; else Servers counts.
	All bool
	// Servers by name. Read only.
	Servers map[string]struct{}
	// Debug allows topology in diagnostic headers.
	Debug bool
	// TrustTrace lets its trace context become our parent and force sampling.
	TrustTrace bool
}

// May reports whether the principal may reach a server.
func (p *Principal) May(server string) bool {
	if p.All {
		return true
	}
	_, ok := p.Servers[server]
	return ok
}

// Ring is the set of sealing keys for one purpose.
type Ring struct {
	Sealing SealKey   // new tokens are sealed with it
	Open    []SealKey // every key that opens, the sealing one included, newest first
}

// SealKey is one key of a ring.
type SealKey struct {
	ID     uint32
	Secret [32]byte
}

// Key returns the key with that id.
func (r *Ring) Key(id uint32) (SealKey, bool) {
	for _, k := range r.Open {
		if k.ID == id {
			return k, true
		}
	}
	return SealKey{}, false
}
