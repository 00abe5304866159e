package redact

import (
	"math"
	"net/url"
	"slices"
	"strings"
)

const unreadable = "(unreadable URL)"

// URL returns raw with everything masked that may be secret: userinfo, query values, the fragment, and path segments that don't look
// like words. Scheme, host and port stay. What cannot be parsed becomes "(unreadable URL)".
func URL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return unreadable
	}
	var b strings.Builder
	if u.Scheme != "" {
		b.WriteString(u.Scheme + ":")
	}
	if u.Host != "" || u.User != nil {
		b.WriteString("//")
	}
	if u.User != nil {
		b.WriteString(mask + "@")
	}
	b.WriteString(printable(u.Host))
	b.WriteString(maskPath(u.EscapedPath()))
	if u.RawQuery != "" {
		b.WriteString("?" + maskQuery(u.RawQuery))
	}
	if u.Fragment != "" {
		b.WriteString("#" + mask)
	}
	return b.String()
}

// Origin returns scheme, host and port of raw, for example "https://mcp.example.com:8443"; empty when there is no host.
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + printable(u.Host)
}

func maskPath(path string) string {
	segments := strings.Split(path, "/")
	announced := false
	for i, s := range segments {
		name, _, parameter := strings.Cut(s, "=")
		switch {
		case s == "":
			continue
		case announced || secretLike(name):
			segments[i] = mask
		case parameter:
			segments[i] = printable(name) + "=" + mask
		default:
			segments[i] = printable(s)
		}
		announced = announces(s)
	}
	return strings.Join(segments, "/")
}

func maskQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, p := range pairs {
		name, _, ok := strings.Cut(p, "=")
		switch {
		case p == "":
		case !ok || secretLike(name):
			pairs[i] = mask
		default:
			pairs[i] = printable(name) + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}

var announcers = []string{"key", "keys", "apikey", "token", "tokens", "accesstoken", "secret", "secrets", "password", "passwd", "credential", "credentials", "signature", "sig"}

// announces reports whether the segment after this one is a secret by its name.
func announces(segment string) bool {
	return slices.Contains(announcers, strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(segment)))
}

var secretPrefixes = []string{"sk-", "sk_", "pk_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "eyj", "bearer"}

// secretLike reports whether a segment looks made by a machine: a known prefix, or 16 characters or more that mix letters and digits or
// are spread too evenly for words.
func secretLike(segment string) bool {
	if plain, err := url.PathUnescape(segment); err == nil {
		segment = plain
	}
	for _, p := range secretPrefixes {
		if len(segment) > len(p)+4 && strings.HasPrefix(strings.ToLower(segment), p) {
			return true
		}
	}
	const least = 16
	if len(segment) < least {
		return false
	}
	letter := strings.ContainsFunc(segment, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' })
	digit := strings.ContainsAny(segment, "0123456789")
	return digit || !letter || tangled(segment) || entropy(segment) > 3.8
}

// tangled reports whether letter case changes more often than it does in words joined by capitals.
func tangled(s string) bool {
	changes := 0
	for i := 1; i < len(s); i++ {
		if isUpper(s[i-1]) != isUpper(s[i]) {
			changes++
		}
	}
	return changes*5 > len(s)*2
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// entropy is Shannon's, in bits per byte.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
