// Package origin settles who may speak to a listener from where: the Host and Origin checks that stop a web page from driving a gateway
// on the same machine (DNS rebinding).
//
// It promises a verdict before a credential or a body is read. It refuses to trust any forwarding header.
package origin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Listener is what a socket is known as.
type Listener struct {
	// Loopback: the socket only takes connections from this machine.
	Loopback bool
	// Public are the origins (scheme://host[:port]) under which clients know it; may be empty.
	Public []string
	// Anonymous: callers need no key here. Then only loopback names count, and requests that came through a proxy are refused.
	Anonymous bool
}

// Check refuses a Host or Origin that can't belong to an honest caller of this listener: on a loopback listener only loopback hosts and
// public origins pass; elsewhere public origins if there are any, else any (MCP 2025-11-25 and 2026-07-28, transport security: 403 on a bad
// Origin). h has canonical keys. The error is a *fault.Error with status 403.
func (l *Listener) Check(host string, h http.Header) error {
	if !l.hostAllowed(host) {
		return refuse("host", host)
	}
	if o := h["Origin"]; len(o) > 0 && (len(o) > 1 || !l.originAllowed(o[0])) {
		return refuse("origin", o[0])
	}
	if l.Anonymous {
		return refuseForwarded(h)
	}
	return nil
}

func (l *Listener) hostAllowed(host string) bool {
	if l.Anonymous {
		return netrange.Loopback(host)
	}
	if l.Loopback && netrange.Loopback(host) {
		return true
	}
	for _, p := range l.Public {
		if scheme, known, ok := strings.Cut(p, "://"); ok && strings.EqualFold(bare(scheme, known), bare(scheme, host)) {
			return true
		}
	}
	return !l.Loopback && len(l.Public) == 0
}

func (l *Listener) originAllowed(origin string) bool {
	if l.Anonymous {
		return loopbackOrigin(origin)
	}
	scheme, host, _ := strings.Cut(origin, "://")
	for _, p := range l.Public {
		s, known, ok := strings.Cut(p, "://")
		if ok && strings.EqualFold(s, scheme) && strings.EqualFold(bare(s, known), bare(s, host)) {
			return true
		}
	}
	if l.Loopback {
		return loopbackOrigin(origin)
	}
	return len(l.Public) == 0
}

// bare takes the port off a host if it is the scheme's own.
func bare(scheme, host string) string {
	if strings.EqualFold(scheme, "https") {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && netrange.Loopback(u.Host) &&
		u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
}

// forwarding are the headers that proxies add, beside X-Forwarded-*.
var forwarding = [...]string{"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Original-Host", "True-Client-Ip"}

func refuseForwarded(h http.Header) error {
	for _, k := range forwarding {
		if len(h[k]) > 0 {
			return forwarded(k)
		}
	}
	for k := range h {
		if strings.HasPrefix(k, "X-Forwarded") {
			return forwarded(k)
		}
	}
	return nil
}

func forwarded(header string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Denied,
		Message: "this listener takes callers without a key and so refuses requests that came through a proxy (" + header + " is set)",
		Hint:    "call it directly, or run without --anonymous and send a key"}
}

func refuse(what, value string) error {
	if len(value) > 100 {
		value = value[:100]
	}
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Denied,
		Message: what + " " + value + " is not one this listener is known by",
		Hint:    "call the gateway by localhost, its loopback address or one of its public origins"}
}
