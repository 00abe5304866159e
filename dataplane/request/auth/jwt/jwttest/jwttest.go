// Package jwttest is an issuer of tokens for tests: a real TLS server on loopback with metadata and a key set, and keys to sign with.
//
// It promises that what it publishes can be changed at any moment, that it counts what it is asked, and that it signs whatever it is told
// to: bad tokens are what it is for.
package jwttest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/rules"
)

// Audience is what providers made by Issuer.Provider answer to.
const Audience = "https://gateway.test/mcp"

// Issuer serves metadata and keys.
type Issuer struct {
	// URL is the issuer: an origin and the path /tenant.
	URL    string
	server *httptest.Server

	mu       sync.Mutex
	keys     []*Key         // guarded by mu
	metadata map[string]any // guarded by mu; nil: none
	rfc8414  bool           // guarded by mu; metadata is at the address of RFC 8414 only
	body     string         // guarded by mu; instead of the key set
	status   int            // guarded by mu; instead of every answer
	hold     chan struct{}  // guarded by mu; answers wait until it is closed
	asked    map[string]int // guarded by mu; by what: metadata, keys
}

// New starts an issuer that publishes the keys; it is closed with the test.
func New(t testing.TB, keys ...*Key) *Issuer {
	t.Helper()
	i := &Issuer{keys: keys, asked: map[string]int{}}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.answer))
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL + "/tenant"
	i.metadata = map[string]any{"issuer": i.URL, "jwks_uri": i.server.URL + "/keys"}
	return i
}

// Provider is a configuration that believes the issuer, by its metadata, and gives each token one grant.
func (i *Issuer) Provider() *table.IdentityProvider {
	return &table.IdentityProvider{
		Name: "corp", UID: "uid-corp", Issuer: i.URL, Audiences: []string{Audience}, Algorithms: rules.DefaultAlgorithms, Skew: rules.ClockSkew,
		ClientOf: rules.ClientClaims, UserOf: rules.UserClaims, TLS: i.Roots(), Grants: []table.ClaimGrant{{Grant: &table.Grant{All: true}}},
	}
}

// Roots are settings that believe the issuer's certificate.
func (i *Issuer) Roots() *tls.Config {
	p := x509.NewCertPool()
	p.AddCert(i.server.Certificate())
	return &tls.Config{RootCAs: p}
}

// RootsPEM is the same as text.
func (i *Issuer) RootsPEM() string { return pemOf(i.server.Certificate().Raw) }

// JWKS is the address of the key set.
func (i *Issuer) JWKS() string { return i.server.URL + "/keys" }

// Publish replaces the key set.
func (i *Issuer) Publish(keys ...*Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys, i.body = keys, ""
}

// PublishText replaces the key set by any text.
func (i *Issuer) PublishText(body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = body
}

// Describe changes a member of the metadata; nil removes it.
func (i *Issuer) Describe(member string, to any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.metadata[member] = to; to == nil {
		delete(i.metadata, member)
	}
}

// OnlyRFC8414 moves the metadata to the address of RFC 8414.
func (i *Issuer) OnlyRFC8414() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rfc8414 = true
}

// Fail makes every answer this status; 0 ends it.
func (i *Issuer) Fail(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = status
}

// Hold keeps answers back until the returned function is called.
func (i *Issuer) Hold() (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	hold := make(chan struct{})
	i.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

// Asked is how often metadata and keys were asked for.
func (i *Issuer) Asked() (metadata, keys int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked["metadata"], i.asked["keys"]
}

func (i *Issuer) answer(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	what := "metadata"
	if r.URL.Path == "/keys" {
		what = "keys"
	}
	i.asked[what]++
	status, body := i.contentLocked(r.URL.Path)
	hold := i.hold
	i.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (i *Issuer) contentLocked(path string) (int, string) {
	switch {
	case i.status != 0:
		return i.status, "{}"
	case path == "/keys" && i.body != "":
		return http.StatusOK, i.body
	case path == "/keys":
		set := make([]string, len(i.keys))
		for n, k := range i.keys {
			set[n] = k.JWK()
		}
		return http.StatusOK, `{"keys":[` + strings.Join(set, ",") + `]}`
	case !i.rfc8414 && path == "/tenant/.well-known/openid-configuration", i.rfc8414 && path == "/.well-known/oauth-authorization-server/tenant":
		b, err := json.Marshal(i.metadata)
		if err != nil {
			return http.StatusInternalServerError, fmt.Sprint(err)
		}
		return http.StatusOK, string(b)
	}
	return http.StatusNotFound, `{"error":"not_found"}`
}
