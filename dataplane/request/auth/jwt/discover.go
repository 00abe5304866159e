package jwt

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hopgate/hopgate/dataplane/egress"
)

const (
	mostSet      = 256 << 10 // bytes of a key set
	mostMetadata = 128 << 10 // bytes of a metadata document
)

// download gets the source's key set: where the operator says, else where the issuer's metadata says.
func (t *Tokens) download(ctx context.Context, s *source) ([]byte, error) {
	from := s.jwks
	stranger := false
	if from == "" {
		var err error
		if from, err = t.discover(ctx, s); err != nil {
			return nil, err
		}
		stranger = !sameOrigin(from, s.issuer)
	}
	r := &egress.Request{URL: from, TLS: s.tls, Limit: mostSet}
	if stranger { // nothing of the issuer's own settings is for others
		r.TLS, r.Stranger = nil, true
	}
	a, err := t.get(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("the key set: %w", err)
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("the key set was answered with status %d", a.Status)
	}
	return a.Body, nil
}

func (t *Tokens) get(ctx context.Context, r *egress.Request) (*egress.Answer, error) {
	r.Header = http.Header{"Accept": {"application/json"}}
	r.Retries, r.Timeout = 1, waitAtMost
	return t.cfg.Egress.Do(ctx, r)
}

var errNoMetadata = errors.New("the issuer has no metadata at its well-known addresses; set jwks_url")

// discover finds the address of the key set: OpenID Connect Discovery 1.0 section 4, then RFC 8414 section 3.1.
func (t *Tokens) discover(ctx context.Context, s *source) (string, error) {
	for _, at := range wellKnown(s.issuer) {
		a, err := t.get(ctx, &egress.Request{URL: at, TLS: s.tls, Limit: mostMetadata})
		if err != nil {
			return "", fmt.Errorf("the issuer's metadata: %w", err)
		}
		if a.Status != http.StatusOK {
			continue
		}
		return keySetOf(a.Body, s.issuer)
	}
	return "", errNoMetadata
}

func wellKnown(issuer string) []string {
	list := []string{strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"}
	if u, err := url.Parse(issuer); err == nil {
		list = append(list, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+strings.TrimSuffix(u.EscapedPath(), "/"))
	}
	return list
}

// keySetOf reads a metadata document. Its issuer must be the one it was fetched for, to the letter: RFC 8414 section 3.3.
func keySetOf(body []byte, issuer string) (string, error) {
	doc, err := parse(body)
	if err != nil {
		return "", named("the issuer's metadata", err)
	}
	if iss := doc.get("issuer"); !iss.isString() || iss.text != issuer {
		return "", errors.New("the issuer's metadata is for another issuer; configure the issuer exactly as its metadata names it")
	}
	at := doc.get("jwks_uri")
	if !at.isString() {
		return "", errors.New("the issuer's metadata names no key set (jwks_uri); set jwks_url")
	}
	if _, err := url.Parse(at.text); err != nil {
		return "", errors.New("the issuer's metadata names a key set (jwks_uri) that isn't a URL; set jwks_url")
	}
	return at.text, nil
}

// sameOrigin compares scheme, host and port.
func sameOrigin(a, b string) bool {
	x, y := origin(a), origin(b)
	return x != "" && x == y
}

func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port)
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %w", what, err)
}
