// Package origin settles who may speak to a listener, from where, and under which name: the direct peer, the client behind trusted proxies,
// whether it is internal, the public origin, and the Host and Origin checks that stop a web page from driving a gateway on the same machine
// (DNS rebinding).
//
// It promises that trust is decided by the direct peer alone, before any forwarded value is read, and that lists are walked from the right,
// so that nothing a caller puts in front of what trusted proxies wrote changes where it seems to come from. Whatever can't be read or isn't
// told leaves the client unknown, and an unknown client is external: nothing here makes an outsider internal by a guess. A Host header, or
// a forwarded one, picks among names and never decides which route or which rights a request gets. The package is pure: values in, values
// out.
//
// It refuses to believe a header that the operator didn't name, and to resolve names.
package origin

import (
	"net/http"
	"net/netip"

	"github.com/hopgate/hopgate/dataplane/table"
)

// Listener is what a socket is known as, by its process. What an ingress says wins over Public, RedirectOrigins and NativeURIs.
type Listener struct {
	// Loopback: the socket only takes connections from this machine.
	Loopback bool
	// Secure: the socket speaks TLS itself.
	Secure bool
	// Public are the origins (scheme://host[:port]) under which clients know it; may be empty.
	Public []string
	// RedirectOrigins are other sites that OAuth clients may be sent back to: host, host:port or *.suffix, https only.
	RedirectOrigins []string
	// NativeURIs are native callbacks that OAuth clients may be sent back to; a trailing /* matches what is below.
	NativeURIs []string
	// Anonymous: callers need no key here. Then only loopback names count, and requests that came through a proxy are refused.
	Anonymous bool
}

// Request is what of a request tells where it came from.
type Request struct {
	// Remote is the direct peer, host:port.
	Remote string
	// Host is the Host header or :authority.
	Host string
	// Secure says that it came over the listener's own TLS.
	Secure bool
	// Header has canonical keys; it is only read.
	Header http.Header
}

// Facts are what was settled about a request.
type Facts struct {
	// Peer is who connected; invalid if the front couldn't tell.
	Peer netip.Addr
	// Trusted: the peer is a trusted proxy and forwarding headers are read.
	Trusted bool
	// Client is who called; invalid: unknown. Never with a zone, and IPv4 in IPv6 form is IPv4.
	Client netip.Addr
	// Internal: the client is known and in an internal range.
	Internal bool
	// Scheme is http or https. Host is as it came, unless a trusted proxy told another: Origin checks and normalises it.
	Scheme, Host string
	// Hops is the position of the client in the forwarded list, from the right: how many trusted proxies wrote behind it, the peer apart.
	Hops int
	// Ignored counts the entries left of where the walk stopped.
	Ignored int
	// Why says how Client was found.
	Why Why
	// SchemeFrom and HostFrom say which header told; PortFrom is set when a header gave the port only.
	SchemeFrom, HostFrom, PortFrom Source
}

// Why is how the client was found, or why it wasn't.
type Why uint8

// How it was.
const (
	// NoPeer: the front gave no readable address.
	NoPeer Why = iota
	// Direct: the peer itself, with nothing to believe about others.
	Direct
	// Behind: a peer of our own network passes something on for others, but isn't a trusted proxy. Unknown.
	Behind
	// Walked: the first address from the right that is no trusted proxy.
	Walked
	// Leftmost: every address is a trusted proxy's; the one furthest from us.
	Leftmost
	// NotAddress: the walk met an entry that isn't an address. Unknown.
	NotAddress
	// Untold: the trusted proxy passes something on, but not for whom. Unknown.
	Untold
	// Disagree: Forwarded and X-Forwarded-For, both named, tell of different clients. Unknown.
	Disagree
)

var whys = [...]string{
	NoPeer:     "the connection's address can't be read",
	Direct:     "the direct peer",
	Behind:     "the peer sends forwarding headers and isn't a trusted proxy",
	Walked:     "the first address from the right that isn't a trusted proxy",
	Leftmost:   "the leftmost address: all are trusted proxies",
	NotAddress: "the walk from the right met an entry that isn't an address",
	Untold:     "the trusted proxy sends forwarding headers but none of the named ones tells the client",
	Disagree:   "forwarded and x-forwarded-for tell of different clients",
}

// String says it for people.
func (w Why) String() string { return whys[w] }

// Source is the header that a fact was taken from.
type Source uint8

// The sources. Own is the listener itself: its scheme, and the Host header.
const (
	Own Source = iota
	ForwardedHeader
	ProtoHeader
	HostHeader
	PortHeader
	ForHeader
)

var sources = [...]string{Own: "listener", ForwardedHeader: "forwarded", ProtoHeader: "x-forwarded-proto", HostHeader: "x-forwarded-host",
	PortHeader: "x-forwarded-port", ForHeader: "x-forwarded-for"}

// String is the header in lower case, or listener.
func (s Source) String() string { return sources[s] }

// Settle finds out where a request came from. ing is of this region and never nil.
func (l *Listener) Settle(in *Request, ing *table.Ingress) Facts {
	f := Facts{Peer: peer(in.Remote), Scheme: "http", Host: in.Host}
	if in.Secure || l.Secure {
		f.Scheme = "https"
	}
	switch {
	case !f.Peer.IsValid():
	case ing.Forwarded && !ing.Closed && ing.Proxies.Contains(f.Peer):
		f.Trusted = true
		f.believe(in.Header, ing)
		f.Internal = f.Client.IsValid() && internal(ing, f.Client)
	default:
		f.direct(in.Header, ing)
	}
	return f
}

// direct settles a request whose forwarding headers aren't believed. Who is inside and passes something on for others is a proxy that nobody
// declared: the caller behind it is unknown. From outside it doesn't matter what a caller says.
func (f *Facts) direct(h http.Header, ing *table.Ingress) {
	inside := internal(ing, f.Peer)
	if (inside || private(f.Peer)) && passedOn(h) {
		f.Why = Behind
		return
	}
	f.Client, f.Internal, f.Why = f.Peer, inside, Direct
}

// internal reports whether an address is internal to an ingress. A rejected one has nothing internal.
func internal(ing *table.Ingress, a netip.Addr) bool {
	if ing.Closed {
		return false
	}
	if ing.Internal.Empty() {
		return private(a)
	}
	return ing.Internal.Contains(a)
}

// private are the ranges that are internal by default: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, ::1, fc00::/7.
func private(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() }
