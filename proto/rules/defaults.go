package rules

import "time"

// Built-in values of Ingress and IdentityProvider.
const (
	ClockSkew     = 60 * time.Second // how far an issuer's clock may be off
	MostClockSkew = 5 * time.Minute
)

// Built-in values of servers, used where the object says nothing.
const (
	ListTTL = 30 * time.Second // how long a server's lists are served from memory when it doesn't say so itself

	QueueTimeout    = 5 * time.Second  // how long a call waits for another to end, where a queue is configured
	BreakerFailures = 5                // failures in a row after which an instance gets no calls for a while
	BreakerOpen     = time.Second      // how long at first
	MostBreakerOpen = 30 * time.Second // how long at most, after failed attempts
	HealthTimeout   = 5 * time.Second  // for an instance to answer whether it lives
	Retries         = 1                // of a call that can't have run, or may run twice
)

var (
	// InternalRanges are the ranges of internal callers of an Ingress that names none: RFC 1918, loopback and RFC 4193. Read only.
	InternalRanges = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1", "fc00::/7"}
	// ForwardedHeaders are the words of Ingress.spec.forwarded_headers. Read only.
	ForwardedHeaders = []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"}
	// DefaultForwardedHeaders are read where an Ingress names none. Read only.
	DefaultForwardedHeaders = ForwardedHeaders[:4:4]
	// Algorithms are the signature algorithms of tokens that an IdentityProvider may name (RFC 7518 section 3.1, RFC 8037). Read only.
	Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	// DefaultAlgorithms are believed where an IdentityProvider names none. Read only.
	DefaultAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	// ClientClaims are looked for the client id, in this order, where an IdentityProvider names none. Read only.
	ClientClaims = []string{"client_id", "azp", "cid"}
	// UserClaims are looked for what is shown as the user, in this order, where an IdentityProvider names none. Read only.
	UserClaims = []string{"email", "sub"}
)
