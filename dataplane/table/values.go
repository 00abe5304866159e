package table

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/redact"
)

// Server is one MCP upstream, ready to use.
type Server struct {
	Name      string
	UID       string
	Transport string // streamable_http or sse
	Protocol  string // auto, modern or legacy; of transport sse always legacy
	AuthType  string // Auth.Type
	// Target is where to call from this region; nil when no endpoint is reachable from here. Instances are all of them, Target the first.
	Target    *Target
	Instances []*Target
	// Shape says what of its tools is shown; nil: all, as they are.
	Shape *Shape
	// Resilience bounds what it gets, complete.
	Resilience Resilience
	// NeedsSession: a call without a live session must not get one of its own.
	NeedsSession bool
	// ListTTL is how long its lists are served from memory when it doesn't say; 0: never.
	ListTTL time.Duration
	// Timeouts are complete: the server's own over those of Settings over the built-in ones.
	Timeouts Timeouts
	// Internal: only internal callers may see it. Ranges, unless empty, must contain the caller's address.
	Internal bool
	Ranges   netrange.Set
	// Groups are its access groups.
	Groups []string
	// Auth is the credential it wants. Plain: nothing has to be attached for it, neither a credential nor a header.
	Auth  Auth
	Plain bool
	// Headers are sent with each request; ClientHeaders may be set by callers for it, ForwardHeaders are passed on.
	Headers        []Header
	ClientHeaders  []ClientHeader
	ForwardHeaders []ForwardHeader
	// Limit is over all callers; ToolLimits by tool. nil: none.
	Limit      *Limit
	ToolLimits map[string]*Limit
	// Hash of the body it was compiled from: while a newer version is rejected, that of the last good one.
	Hash confset.Hash

	own ownTimeouts
}

// Reachable reports whether callers may see the server from where they are: internal says that the caller is within the Ingress' internal
// ranges, client is its address; one that isn't valid (unknown) is in no range.
func (s *Server) Reachable(internal bool, client netip.Addr) bool {
	return (internal || !s.Internal) && (s.Ranges.Empty() || s.Ranges.Contains(client))
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
	// ID tells the instances of a server apart, in sealed sessions: the first 4 bytes of the SHA-256 of the URL as configured,
	// big endian, and never 0.
	ID uint32
}

// Timeouts of one call, per phase; 0 means no limit.
type Timeouts struct {
	Connect   time.Duration // TCP and TLS together
	FirstByte time.Duration // last byte of the request to first byte of the answer
	Idle      time.Duration // between two bytes of an answer
	Total     time.Duration // the whole call
	List      time.Duration // a server's part in an answer made from several
}

// Resilience is how one data plane treats a server that is slow or broken, complete.
type Resilience struct {
	MaxInFlight     int           // 0: no limit
	Queue           int           // calls that may wait
	QueueTimeout    time.Duration // for how long
	BreakerFailures int           // in a row; 0: no breaker
	BreakerOpen     time.Duration // at first
	HealthInterval  time.Duration // 0: only while a breaker is open
	HealthTimeout   time.Duration
	Retries         int // of calls that can't have run, or may run twice
}

// Settings are the fleet-wide defaults, complete.
type Settings struct {
	Body                int64 // bytes of a request body
	Event               int64 // bytes of one server-sent event
	Result              int64 // bytes of a whole JSON answer
	Depth               int   // nesting of a request body
	StreamsPerPrincipal int   // open streams per principal on this data plane
	Page                int   // items on one page of a list made from several servers
	SampleRatio         float64
	Timeouts            Timeouts
}

// Principal is one caller. It is immutable; a changed key is another value with the same ID.
type Principal struct {
	// ID is what seals and limits hang on: "key:<uid>", "master" or "anonymous".
	ID string
	// Name stands in records: the key's name, "master", "anonymous", or provider/user of a JWT.
	Name string
	// User is the person or program that holds the key.
	User string
	// Hash is the SHA-256 of the whole key.
	Hash [32]byte
	// Expires is when it ends to be accepted; zero: never. Checked by request/auth.
	Expires time.Time
	// Grants are what a key opens (one), or those of the claims that a JWT caller's token matched (they add up). Read only; table.Access decides.
	Grants []*Grant
	// Team bounds what is opened; empty: none. For JWT callers each Grant names its own.
	Team string
	// Limit is over all uses of the key, or of one JWT caller; nil: none.
	Limit *Limit
	// MayAssert allows it to name an end user. EndUser is who was named in this request.
	MayAssert bool
	EndUser   string
	// Debug allows topology in diagnostic headers.
	Debug bool
	// TrustTrace lets its trace context become our parent and force sampling.
	TrustTrace bool
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

// Auth is how a server is told who we are. Which fields count depends on Type and Flow, as in configv1.Auth.
type Auth struct {
	Type     string // none, api_key, bearer, basic, authorization, passthrough, oauth2
	Secret   string // name of the Secret
	Header   string // of an api_key, canonical
	Username string
	Flow     string // client_credentials or token_exchange
	Token    *TokenEndpoint
}

// TokenEndpoint is where an oauth2 credential comes from.
type TokenEndpoint struct {
	Target   *Target // of token_url
	URL      string  // token_url as configured
	ClientID string
	Post     bool // client_secret_post instead of client_secret_basic
	Scopes   []string
	Resource string // empty: not sent
	Audience string // empty: not sent
}

// Header is a header sent with each request to a server.
type Header struct {
	Name   string // canonical
	Text   string // when Secret is empty
	Secret string // name of the Secret
}

// ClientHeader is a header that callers may set for one server.
type ClientHeader struct {
	Name string    // canonical, as it leaves: X-Tenant
	Keys [2]string // canonical, as it comes: X-Mcp-My_server-X-Tenant and, if it differs, X-Mcp-My-Server-X-Tenant
}

// ForwardHeader is a header of the caller that is passed on.
type ForwardHeader struct{ Name string } // canonical

// Secret is a credential of operators.
type Secret struct {
	Name  string
	Value redact.Secret
	Hash  confset.Hash // of the body it came from: changes with the value
}

// Limit is a bound over the whole fleet; a data plane has a share of it.
type Limit struct {
	ID          string  // as in syncv1.LimitDemand.limit
	Subject     string  // for people: the key ci, the team core, the server github, the tool search of the server github
	Rate        float64 // requests a second; 0: no limit
	Concurrency int     // requests in flight; 0: no limit
}

// Ingress is how callers reach this data plane. A zero Ingress trusts nobody.
type Ingress struct {
	Name            string // of the object; empty: none is configured
	Proxies         netrange.Set
	Forwarded       bool // use_forwarded_headers
	For, Proto      bool // x-forwarded-for, -proto, -host, -port, forwarded are read
	Host, Port, RFC bool
	Public          []string // origins, lower case, default ports left out
	Internal        netrange.Set
	RedirectOrigins []string
	NativeURIs      []string
	CORS            []string // origins, normalised as Public
	Closed          bool     // the object was rejected: trust nobody, every caller is external
}

// IdentityProvider is an issuer whose tokens are believed. It is immutable: a changed one is another pointer.
type IdentityProvider struct {
	Name       string
	UID        string
	Issuer     string
	Audiences  []string
	JWKS       string // empty: by metadata
	Algorithms []string
	Skew       time.Duration
	Clients    map[string]struct{} // nil: each
	ClientOf   []string            // claims with the client id, in order
	UserOf     []string            // claims with what is shown as the user, in order
	Grants     []ClaimGrant
	Rate       float64 // per caller; 0: no limit
	InFlight   int
	TLS        *tls.Config // for its own endpoints; nil: the system's roots
}

// ClaimGrant is what a claim opens.
type ClaimGrant struct {
	Claim []string // path; nil: every token
	Value string   // "*": that it is there
	Grant *Grant
	Debug bool
}
