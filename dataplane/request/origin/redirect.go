package origin

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/redact"
)

// mostRedirect is how long a redirect URI can be, in bytes.
const mostRedirect = 2048

// builtIn are native callbacks of well-known clients, taken everywhere.
var builtIn = []string{"cursor://anysphere.cursor-mcp/oauth/callback"}

// RedirectError says why a redirect URI isn't taken. It never says what the gateway believes its own origin to be: that may be an inner
// address. Line, for the log, does.
type RedirectError struct {
	Description, Hint string

	uri, base string
}

const redirectHint = "make the gateway's public origin the one that the browser shows: set public_origins of the ingress (PROXY_BASE_URL on a single node), or " +
	"use_forwarded_headers with trusted_proxies for the proxies in front. An OAuth client on another site belongs into trusted_redirect_origins " +
	"(MCP_TRUSTED_REDIRECT_ORIGINS), a native one into trusted_native_redirect_uris (MCP_TRUSTED_NATIVE_REDIRECT_URIS)"

// Error says what is wrong, without the URI.
func (e *RedirectError) Error() string { return "redirect_uri " + e.Description }

// Body is the answer to the client, with status 400 and the type application/json.
func (e *RedirectError) Body() []byte {
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Hint        string `json:"hint"`
		URI         string `json:"redirect_uri"`
		Detail      string `json:"detail"`
	}{"invalid_request", "redirect_uri " + e.Description, e.Hint, e.echo(), "invalid_request"})
	if err != nil {
		return []byte(`{"error":"invalid_request","detail":"invalid_request"}`) // strings always encode
	}
	return body
}

// echo is the URI as it was sent, unless there may be a secret in it.
func (e *RedirectError) echo() string {
	if strings.ContainsAny(e.uri, "?#@") {
		return redact.URL(e.uri)
	}
	return e.uri
}

// Line is what the log says; how is what Origin said about the computed origin. Queries and whatever else may be secret are masked.
func (e *RedirectError) Line(how string) string {
	return "MCP OAuth: rejecting redirect_uri " + strconv.Quote(redact.URL(e.uri)) + " as invalid_request. Computed proxy base=" +
		strconv.Quote(e.base) + " (" + how + "): " + e.Description
}

// Redirect says whether an OAuth client may be sent back to a URI: one of the gateway's own origin, one of this machine (localhost,
// 127.0.0.0/8, ::1) on any port by http or https (RFC 8252 section 7.3), an https one whose site is trusted, or a native one that is listed.
// origin is what Origin said, and may be empty. What a browser could read in another way than we do isn't taken at all: backslashes, control
// characters, spaces, a user name, a percent sign or an odd character in the host, a fragment. The error is a *RedirectError.
func (l *Listener) Redirect(uri, origin string, ing *table.Ingress) error {
	wrong := func(description, hint string) error {
		if len(uri) > mostRedirect {
			uri = uri[:mostRedirect]
		}
		return &RedirectError{Description: description, Hint: hint, uri: uri, base: origin}
	}
	u, problem := parseRedirect(uri)
	if problem != "" {
		return wrong(problem, "register and send an absolute URI like https://app.example.com/callback, http://127.0.0.1:33418/callback or cursor://host/path")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		if problem := l.native(uri, u, ing); problem != "" {
			return wrong(problem, redirectHint)
		}
		return nil
	}
	host := authority(u.Scheme, u.Host)
	switch {
	case origin != "" && u.Scheme+"://"+host == origin, loopback(u):
		return nil
	case u.Scheme == "https" && l.trusts(host, ing):
		return nil
	case u.Scheme == "http" && l.trusts(authority("https", u.Host), ing):
		return wrong("is of a trusted site, but by http", "trusted sites are reached by https only")
	}
	return wrong("is neither of the gateway's public origin nor of this machine nor of a trusted site", redirectHint)
}

// parseRedirect reads an absolute URI, or says what is wrong with it. For http and https u.Host is a strict host.
func parseRedirect(uri string) (u *url.URL, problem string) {
	switch {
	case uri == "":
		return nil, "is missing"
	case len(uri) > mostRedirect:
		return nil, "is longer than " + strconv.Itoa(mostRedirect) + " bytes"
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, "has a space, a control character or one outside of ASCII"
	case strings.Contains(uri, `\`):
		return nil, "has a backslash"
	case strings.Contains(uri, "#"):
		return nil, "has a fragment"
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return nil, "is not an absolute URI"
	case u.User != nil || strings.Contains(u.Host, "@"):
		return nil, "has a user name"
	case u.Scheme != "http" && u.Scheme != "https":
		return u, ""
	}
	if host, ok := rawHost(uri, u.Scheme); !ok || host != u.Host || !validHost(host) {
		return nil, "has no host, or one that isn't a plain name or address"
	}
	return u, ""
}

// rawHost is what stands between :// and the path: net/url decodes hosts, and browsers take slashes more lightly.
func rawHost(uri, scheme string) (string, bool) {
	host, ok := strings.CutPrefix(uri[len(scheme):], "://")
	if i := strings.IndexAny(host, "/?"); i >= 0 {
		host = host[:i]
	}
	return host, ok
}

// loopback reports whether u leads to this machine. Names below localhost and other spellings of addresses don't count.
func loopback(u *url.URL) bool { return netrange.Loopback(u.Host) }

// trusts reports whether an https site is among the trusted redirect origins. host is normal for https.
func (l *Listener) trusts(host string, ing *table.Ingress) bool {
	list := ing.RedirectOrigins
	if len(list) == 0 && !ing.Closed {
		list = l.RedirectOrigins
	}
	name, _, _ := splitHost(host)
	_, err := netip.ParseAddr(name)
	for _, t := range list {
		if suffix, wild := strings.CutPrefix(t, "*"); wild {
			if err != nil && strings.HasPrefix(suffix, ".") && len(name) > len(suffix) && strings.HasSuffix(name, strings.ToLower(suffix)) {
				return true
			}
			continue
		}
		if own := authority("https", t); own != "" && own == host {
			return true
		}
	}
	return false
}

// browsers are schemes that browsers act on themselves; no list makes them callbacks.
var browsers = map[string]bool{"javascript": true, "data": true, "vbscript": true, "file": true, "filesystem": true, "blob": true, "about": true,
	"view-source": true, "ws": true, "wss": true, "ftp": true, "mailto": true, "chrome": true, "intent": true}

// native says what is wrong with a callback of another scheme; empty: it is listed.
func (l *Listener) native(uri string, u *url.URL, ing *table.Ingress) string {
	switch {
	case browsers[u.Scheme]:
		return "has a scheme that browsers act on themselves"
	case u.RawQuery != "" || u.ForceQuery:
		return "is a native callback with a query"
	}
	list := ing.NativeURIs
	if len(list) == 0 && !ing.Closed {
		list = l.NativeURIs
	}
	for _, t := range list {
		if nativeMatch(t, uri) {
			return ""
		}
	}
	for _, t := range builtIn {
		if t == uri {
			return ""
		}
	}
	return "is a native callback that isn't listed"
}

// nativeMatch compares with one entry: exactly, or, where that ends in /*, with what is below. Below there is a plain path: nothing that
// leads out of it, however it is spelled.
func nativeMatch(entry, uri string) bool {
	base, wild := strings.CutSuffix(entry, "/*")
	if !wild {
		return entry == uri
	}
	_, rest, _ := strings.Cut(base, ":")
	below, ok := strings.CutPrefix(uri, base+"/")
	if !ok || below == "" || strings.Trim(rest, "/") == "" || strings.Contains(below, "%") {
		return false
	}
	for segment := range strings.SplitSeq(below, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
