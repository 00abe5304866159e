package rules

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const mostURL = 2048

// urlProblem is one way in which a URL is wrong; the URL itself is never quoted, since it may carry a secret.
type urlProblem struct{ problem, fix string }

const urlExample = "write it like https://mcp.example.com/mcp"

// url checks an absolute http or https URL without userinfo and fragment.
func (vs *Violations) url(field, raw string) {
	if raw == "" {
		vs.add(field, "is missing", urlExample)
		return
	}
	if p := checkURL(raw); p != nil {
		vs.add(field, p.problem, p.fix)
	}
}

func checkURL(raw string) *urlProblem {
	if len(raw) > mostURL {
		return &urlProblem{"is " + strconv.Itoa(len(raw)) + " bytes long", "at most " + strconv.Itoa(mostURL) + " are possible"}
	}
	if i := strings.IndexFunc(raw, func(r rune) bool { return !urlRune(r) }); i >= 0 {
		return &urlProblem{"has a character at position " + strconv.Itoa(i+1) + " that a URL cannot have", "write it percent-encoded, or remove it"}
	}
	if strings.Contains(raw, "#") {
		return &urlProblem{"has a fragment", "remove # and what follows: servers never see it"}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return parseProblem(raw)
	}
	switch {
	case u.Scheme == "":
		return &urlProblem{"has no scheme", "write http:// or https:// in front"}
	case u.Scheme != "http" && u.Scheme != "https":
		return &urlProblem{"has a scheme that is neither http nor https", "write http:// or https:// in front"}
	case u.User != nil:
		return &urlProblem{"has a user name or password in it", "remove everything between // and @: URLs are shown in records"}
	case u.Hostname() == "":
		return &urlProblem{"has no host", urlExample}
	}
	return checkAuthority(u)
}

// parseProblem guesses why net/url refused raw; its own error quotes the URL.
func parseProblem(raw string) *urlProblem {
	_, rest, ok := strings.Cut(raw, "://")
	authority, _, _ := strings.Cut(rest, "/")
	switch {
	case !ok:
		return &urlProblem{"has no scheme", "write http:// or https:// in front"}
	case strings.Contains(authority, "@") || strings.Contains(authority, "["):
	case strings.Count(authority, ":") > 1:
		return &urlProblem{"has an IPv6 address without brackets", "write it like http://[::1]:3001/mcp"}
	case strings.Contains(authority, ":"):
		return &urlProblem{"has a port that is not a number", "write a port from 1 to 65535"}
	}
	return &urlProblem{"is not a URL", urlExample}
}

func checkAuthority(u *url.URL) *urlProblem {
	host := u.Hostname()
	if strings.Contains(host, "%") {
		return &urlProblem{"has an address with a zone", "use an address that means the same on every machine"}
	}
	if !isHost(host) {
		return &urlProblem{"has a host that is neither a name nor an IP address", urlExample}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return &urlProblem{"has a port that is not possible", "write a port from 1 to 65535"}
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return &urlProblem{"has a colon but no port", "write a port from 1 to 65535, or remove the colon"}
	}
	return nil
}

// urlRune reports whether RFC 3986 lets r stand in a URL.
func urlRune(r rune) bool {
	return r > 0x20 && r < 0x7f && !strings.ContainsRune("\"<>\\^`{|}", r)
}

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isHost reports whether s is a DNS name or an IP address without brackets and zone.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return false
		}
	}
	// A name whose last label is a number would be taken for a damaged IPv4 address (WHATWG URL, host parsing).
	_, err := strconv.Atoi(labels[len(labels)-1])
	return err != nil
}

// isDomain reports whether s is a DNS name.
func isDomain(s string) bool {
	_, err := netip.ParseAddr(s)
	return err != nil && isHost(s)
}
