package rules

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const originExample = "write it like https://mcp.example.com"

// asError returns the problem and its fix as one sentence.
func (p *urlProblem) asError() error { return errors.New(p.problem + "; " + p.fix) }

// Origin reads scheme://host[:port] (RFC 6454 section 4) and returns it in lower case and without the scheme's default port; IPv6 addresses
// are in brackets and in their short form. A path, even a trailing slash, is an error. Errors don't quote s.
func Origin(s string) (normalised string, err error) {
	out, p := readOrigin(s)
	if p != nil {
		return "", p.asError()
	}
	return out, nil
}

func readOrigin(s string) (string, *urlProblem) {
	if s == "" {
		return "", &urlProblem{"is missing", originExample}
	}
	if p := checkURL(s); p != nil {
		switch {
		case p.fix == urlExample:
			p.fix = originExample
		case strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f }):
			p.fix = "write international names in ASCII, as xn--…"
		}
		return "", p
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", &urlProblem{"is not a URL", originExample}
	case u.Path == "/" && u.RawQuery == "" && !u.ForceQuery:
		return "", &urlProblem{"ends in a slash", "remove it: an origin is scheme, host and port"}
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery:
		return "", &urlProblem{"has a path or a query", "remove it: an origin is scheme, host and port"}
	}
	return u.Scheme + "://" + authority(u), nil
}

// authority returns host and port in lower case, without the default port.
func authority(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + a.String() + "]"
	}
	n, _ := strconv.Atoi(u.Port()) // without leading zeros
	if n == 0 || u.Scheme == "https" && n == 443 || u.Scheme == "http" && n == 80 {
		return host
	}
	return host + ":" + strconv.Itoa(n)
}

// RedirectOrigin says what is wrong with an entry of trusted_redirect_origins: host, host:port, or *.suffix for every host below suffix.
func RedirectOrigin(s string) error {
	if p := checkRedirectOrigin(s); p != nil {
		return p.asError()
	}
	return nil
}

const redirectExample = "write it like app.example.com, app.example.com:8443 or *.example.com"

func checkRedirectOrigin(s string) *urlProblem {
	suffix, wild := strings.CutPrefix(s, "*.")
	switch {
	case s == "":
		return &urlProblem{"is missing", redirectExample}
	case s == "*":
		return &urlProblem{"would send tokens anywhere", redirectExample}
	case strings.Contains(s, "://"):
		return &urlProblem{"has a scheme", "write just the host, like app.example.com: it is always https"}
	case strings.ContainsAny(s, "/?#@\\"):
		return &urlProblem{"has more than a host and a port", redirectExample}
	case wild && !isDomain(suffix):
		return &urlProblem{"is not *. and a domain", "write it like *.example.com, without a port: any is taken"}
	case wild && !strings.Contains(strings.TrimSuffix(suffix, "."), "."):
		return &urlProblem{"stands for a whole top-level domain", "write at least two labels, like *.example.com"}
	case wild:
		return nil
	case strings.Contains(s, "*"):
		return &urlProblem{"has a * that is not in front", "write it like *.example.com"}
	}
	if p := checkURL("https://" + s); p != nil {
		return &urlProblem{p.problem, redirectExample}
	}
	return nil
}

var schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// notNative are schemes that browsers handle themselves: what they lead to is a site, a script or a file, not an application.
var notNative = []string{"http", "https", "ws", "wss", "ftp", "javascript", "data", "vbscript", "file", "filesystem", "blob", "about", "view-source", "chrome", "mailto", "intent"}

// NativeURI says what is wrong with an entry of trusted_native_redirect_uris: scheme://host/path, or scheme:/path (RFC 8252 section 7.1);
// a trailing * behind a slash matches what is below.
func NativeURI(s string) error {
	if p := checkNativeURI(s); p != nil {
		return p.asError()
	}
	return nil
}

const nativeExample = "write it like cursor://host/path or cursor://host/path/*"

func checkNativeURI(s string) *urlProblem {
	scheme, rest, ok := strings.Cut(s, ":")
	exact, wild := strings.CutSuffix(rest, "*")
	switch {
	case s == "":
		return &urlProblem{"is missing", nativeExample}
	case len(s) > mostURL:
		return &urlProblem{"is " + strconv.Itoa(len(s)) + " bytes long", "at most " + strconv.Itoa(mostURL) + " are possible"}
	case !ok || !schemeForm.MatchString(scheme):
		return &urlProblem{"has no scheme", nativeExample}
	case slices.Contains(notNative, strings.ToLower(scheme)):
		return &urlProblem{"has a scheme that browsers handle themselves", "name the application's own scheme; sites belong into trusted_redirect_origins"}
	case strings.ContainsAny(exact, "*"):
		return &urlProblem{"has a * that is not at the end", nativeExample}
	case strings.ContainsAny(exact, "?#\\"):
		return &urlProblem{"has a query, a fragment or a backslash", "remove it"}
	case strings.ContainsFunc(exact, func(r rune) bool { return !urlRune(r) }):
		return &urlProblem{"has a character that a URL cannot have", "write it percent-encoded, or remove it"}
	case wild && !strings.HasSuffix(exact, "/"):
		return &urlProblem{"has a * inside a path segment", "put a slash in front of it: cursor://host/path/* matches what is below path"}
	}
	return checkNativePath(s, exact, wild)
}

func checkNativePath(s, exact string, wild bool) *urlProblem {
	u, err := url.Parse(strings.TrimSuffix(s, "*"))
	switch {
	case err != nil || !strings.HasPrefix(exact, "/"):
		return &urlProblem{"is not a native callback", nativeExample}
	case u.User != nil:
		return &urlProblem{"has a user name or password in it", "remove everything between // and @"}
	case strings.HasPrefix(exact, "//") && u.Host == "":
		return &urlProblem{"has no host", nativeExample}
	case wild && u.Host == "" && u.Path == "/":
		return &urlProblem{"stands for everything of its scheme", "name a host or a first path segment"}
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(seg string) bool { return seg == "." || seg == ".." }):
		return &urlProblem{"has . or .. as a path segment", "write the path without"}
	}
	return nil
}
