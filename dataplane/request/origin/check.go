package origin

import (
	"net/url"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Check refuses a Host or Origin that can't belong to an honest caller of this listener (MCP 2025-11-25 and 2026-07-28, transport security: 403
// on a bad Origin). On a loopback listener only loopback hosts and public origins pass. Elsewhere any host does: there every caller needs a
// credential, so that a rebound name wins nothing, and a proxy in front may well send a name of its own; an Origin must be a public one if
// there are any. Pages of the CORS origins pass as well. Where a trusted proxy told the host, that one may be a public origin instead of the
// Host header, but it never passes for a loopback name: a page that a name was rebound for can set forwarding headers. f is what Settle
// said. The error is a *fault.Error with status 403.
func (l *Listener) Check(in *Request, f *Facts, ing *table.Ingress) error {
	if !l.hostAllowed(in.Host, f, ing) {
		return refuse("host", in.Host)
	}
	if o := in.Header["Origin"]; len(o) > 0 && (len(o) > 1 || !l.originAllowed(o[0], ing)) {
		return refuse("origin", o[0])
	}
	if l.Anonymous {
		if k := passedBy(in.Header); k != "" {
			return forwarded(k)
		}
	}
	return nil
}

func (l *Listener) hostAllowed(host string, f *Facts, ing *table.Ingress) bool {
	if l.Anonymous {
		return netrange.Loopback(host)
	}
	if !l.Loopback || netrange.Loopback(host) {
		return true
	}
	for _, p := range l.public(ing) {
		if sameHost(p, host) || f.Trusted && sameHost(p, f.Host) {
			return true
		}
	}
	return false
}

func (l *Listener) originAllowed(origin string, ing *table.Ingress) bool {
	if l.Anonymous {
		return loopbackOrigin(origin)
	}
	known := l.public(ing)
	if among(known, origin) || among(ing.CORS, origin) {
		return true
	}
	if l.Loopback {
		return loopbackOrigin(origin)
	}
	return len(known) == 0
}

func among(known []string, origin string) bool {
	for _, p := range known {
		if sameOrigin(p, origin) {
			return true
		}
	}
	return false
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && netrange.Loopback(u.Host) &&
		u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
}

func forwarded(header string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Denied,
		Message: "this listener takes callers without a key and so refuses requests that came through a proxy (" + header + " is set)",
		Hint:    "call it directly, or run without --anonymous and send a key"}
}

func refuse(what, value string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Denied,
		Message: what + " " + short(value) + " is not one this listener is known by",
		Hint:    "call the gateway by localhost, its loopback address or one of its public origins"}
}

// short cuts what a caller sent down to what a message can hold.
func short(s string) string {
	if len(s) > 100 {
		return s[:100]
	}
	return s
}
