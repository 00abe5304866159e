package origin

import (
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
)

// How an origin was found.
const (
	byIngress  = "the public_origins of the ingress"
	byProcess  = "the public origin that this process was started with"
	byProxy    = "what a trusted proxy told"
	byListener = "the listener's own scheme and the Host header"
	byNothing  = "the host is not a host name"
)

// public returns the origins under which clients know the listener: those of the ingress, else those of the process.
func (l *Listener) public(ing *table.Ingress) []string {
	if len(ing.Public) > 0 {
		return ing.Public
	}
	return l.Public
}

// Origin returns the public origin, scheme://host[:port] in lower case and without the scheme's own port, and how it was found. Configured
// origins win: of several the one of the computed host, else the first. It is empty when none is configured and the host is no host name.
func (l *Listener) Origin(f *Facts, ing *table.Ingress) (origin, how string) {
	origin, how, _ = l.pick(f, ing)
	return origin, how
}

// pick is Origin; listed is false when several are configured and none is for the computed host.
func (l *Listener) pick(f *Facts, ing *table.Ingress) (origin, how string, listed bool) {
	known := l.public(ing)
	if how = byProcess; len(ing.Public) > 0 {
		how = byIngress
	}
	for _, p := range known {
		if o := normal(p); o != "" && sameHost(o, f.Host) {
			return o, how, true
		}
	}
	for _, p := range known {
		if o := normal(p); o != "" {
			return o, how, len(known) == 1
		}
	}
	host := authority(f.Scheme, f.Host)
	switch {
	case host == "":
		return "", byNothing, true
	case f.SchemeFrom != Own || f.HostFrom != Own || f.PortFrom != Own:
		how = byProxy
	default:
		how = byListener
	}
	return f.Scheme + "://" + host, how, true
}

// sameHost reports whether a host, with or without a port, is that of an origin.
func sameHost(origin, host string) bool {
	scheme, known, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(bare(scheme, known), bare(scheme, host))
}

// bare takes the port off a host if it is the scheme's own.
func bare(scheme, host string) string {
	if strings.EqualFold(scheme, "https") {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// sameOrigin compares an Origin header with an origin.
func sameOrigin(known, given string) bool {
	scheme, host, ok := strings.Cut(given, "://")
	return ok && len(known) > len(scheme) && strings.EqualFold(known[:len(scheme)], scheme) && known[len(scheme)] == ':' && sameHost(known, host)
}

// Describe says in one line of ASCII under which origin the gateway was called and by whom, and how both were found.
func (l *Listener) Describe(f *Facts, ing *table.Ingress) string {
	o, how := l.Origin(f, ing)
	return "origin=" + or(o, "unknown") + " (" + how + "); client=" + shown(f.Client) + " (" + f.Why.String() + "); " + place(f)
}

func place(f *Facts) string {
	if f.Internal {
		return "internal"
	}
	return "external"
}
