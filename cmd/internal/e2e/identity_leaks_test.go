//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// TestNoKeyOfTheFleetsIdentityIsFoundAgain joins a relay and data planes with tokens, then searches all that they leave behind for the tokens and
// for every private key.
func TestNoKeyOfTheFleetsIdentityIsFoundAgain(t *testing.T) {
	l := newLedger()
	s := &spill{ledger: l, members: startEtcd(t), kek: filepath.Join(t.TempDir(), "kek")}
	if err := os.WriteFile(s.kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	debug := []string{"--log-level", "debug", "--sync-identity", "auto", "--kek-file", s.kek}
	home := startControl(t, "home", nil, append(debug, "--etcd", clients(s.members), "--log-format", "json")...)
	plant := func(what string, c *control, flags ...string) string {
		file, text := c.joinToken(t, flags...)
		l.known("the secret of "+what, strings.Split(text, "_")[2], nil)
		return file
	}
	relay := startControl(t, "relay", nil, append(debug, "--upstream", home.Sync, "--node", "relay-eu", "--join-file", plant("a relay's token", home, "--relay"))...)
	home.apply(t, server("demo", demoServer(t))+overlaidSecret(t, home, l))
	s.controls = []*control{home, relay}
	s.proxies = []*proxy{joins(t, "n1", plant("a token", home), home), joins(t, "n2", plant("a token of the relay's", relay), relay)}
	home.inSync(t, "n1", "relay-eu")
	relay.inSync(t, "n2")
	for _, c := range s.controls {
		for _, path := range []string{"/metrics", "/debug/pprof/goroutine?debug=2", "/v1/jointokens", "/v1/nodes", "/v1/changes", "/v1/overlays", "/v1/servers"} {
			a, err := c.send(http.MethodGet, path, "", "")
			if err != nil {
				t.Fatal(err)
			}
			l.see("admin", c.Name+path, []byte(a.Body))
		}
	}
	for _, p := range s.proxies {
		s.fetch(t, "metrics", "http://"+p.Admin+"/metrics")
		s.fetch(t, "page", "http://"+p.Admin+"/debug/pprof/goroutine?debug=2")
	}
	s.authorityKey(t)
	s.dump(t)
	for _, p := range s.proxies {
		p.stop(t)
		s.ownKey(t, p)
		l.see("log", p.Name, []byte(p.output()))
		s.files(t, "state", p.State)
	}
	for _, c := range s.controls {
		c.stop(t)
		l.see("log", c.Name, []byte(c.output()))
		for i, arg := range c.Args {
			if arg == "--data-dir" {
				s.files(t, "data", c.Args[i+1])
			}
		}
	}
	s.relayKeys(t, relay)
	leaks, belong := l.search()
	for _, f := range leaks {
		t.Error(f)
	}
	for i := range l.canaries {
		if c := &l.canaries[i]; strings.HasSuffix(c.what, inPEM) && c.may != nil && belong[c] == 0 {
			t.Errorf("%s isn't even where it belongs: the search proves nothing", c.what)
		}
	}
	t.Logf("%d canaries in %d haystacks", len(l.canaries), len(l.hay))
}

// overlaidSecret is an overlay that refers to a secret, whose value is planted.
func overlaidSecret(t *testing.T, c *control, l *ledger) string {
	t.Helper()
	if res := c.command(t, l.secret("a secret that an overlay names"), nil, "secret", "set", "overlaid"); res.Code != 0 {
		t.Fatal(res)
	}
	return "kind: Overlay\nname: demo-eu\nspec: {kind: server, target: demo, region: eu, server: {auth: {type: bearer, value: {secret: overlaid}}}}\n---\n"
}

const inPEM = " in PEM"

// plantKey plants what can't be missing from any form of a private key.
func (l *ledger) plantKey(t *testing.T, what string, pkcs8 []byte, may func(h *haystack) bool) {
	t.Helper()
	k, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	l.known(what, string(raw), may)
	lines := strings.Split(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), "\n")
	l.known(what+inPEM, lines[2], may) // the first one is much the same for all keys
}

// ownKey plants the key of a data plane, which is in its own file and nowhere else.
func (s *spill) ownKey(t *testing.T, p *proxy) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.State, "identity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(text)
	s.plantKey(t, "the key of "+p.Name, b.Bytes, func(h *haystack) bool {
		return strings.HasPrefix(h.name, p.State) && strings.HasSuffix(h.name, "identity.pem")
	})
}

// authorityKey plants the key of the fleet's authority.
func (s *spill) authorityKey(t *testing.T) {
	t.Helper()
	store, err := etcdstore.Cluster(etcdstore.ClusterConfig{Endpoints: strings.Split(clients(s.members), ",")})
	if err == nil {
		err = store.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // read only
	kek, err := secret.LoadKEK(s.kek, false)
	if err != nil {
		t.Fatal(err)
	}
	key, m := confset.Key{Kind: "authority", Name: "default"}, &configv1.Authority{}
	head, err := store.Get(t.Context(), key)
	if err == nil {
		err = proto.Unmarshal(head.Object.Body, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := kek.Open(secret.AAD(key, head.Object.UID), m.GetKey())
	if err != nil {
		t.Fatal(err)
	}
	s.plantKey(t, "the authority's key", plain, nil)
}

// relayKeys plants what the relay's sealed file holds.
func (s *spill) relayKeys(t *testing.T, relay *control) {
	t.Helper()
	kek, err := secret.LoadKEK(s.kek, false)
	if err != nil {
		t.Fatal(err)
	}
	dir := ""
	for i, arg := range relay.Args {
		if arg == "--data-dir" {
			dir = relay.Args[i+1]
		}
	}
	sealed, err := os.ReadFile(filepath.Join(dir, "identity", "identity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := kek.Open([]byte("hopgate relay identity 1/relay-eu"), sealed)
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			keys++
			s.plantKey(t, "a relay's "+b.Type, b.Bytes, nil)
		}
	}
	if keys != 2 {
		t.Errorf("the relay holds %d keys", keys)
	}
}
