package authority_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// region is a relay that joined, and signs.
type region struct {
	*caller
	signs *ecdsa.PrivateKey
	ca    *x509.Certificate
	store *memstore.Store
	at    string // where it answers
}

// region lets a relay join at home and serves what it signs, from a store of its own.
func (r *rig) region(home, name string) *region {
	r.Helper()
	token := r.token(func(m *adminv1.JoinToken) { m.Relay, m.Region = true, name })
	g := &region{caller: r.caller(), store: memstore.New()}
	var err error
	if g.signs, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		r.Fatal(err)
	}
	res, err := g.enroll(home, &syncv1.EnrollRequest{Token: token.Reveal(), Node: "relay-" + name, AuthorityCsr: g.request(g.signs)})
	if err != nil {
		r.Fatal(err)
	}
	if g.ca, err = x509.ParseCertificate(res.GetAuthority()); err != nil {
		r.Fatal(err)
	}
	g.serveSigned(g.signs, g.ca)
	return g
}

func (c *caller) request(k crypto.Signer) []byte {
	c.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		c.Fatal(err)
	}
	return der
}

func (g *region) serveSigned(k crypto.Signer, ca *x509.Certificate) {
	g.Helper()
	a, err := authority.New(authority.Config{Store: g.store, KEK: g.kek, Names: []string{"127.0.0.1"}, Log: slog.New(slog.DiscardHandler), Now: g.clock.now})
	if err != nil {
		g.Fatal(err)
	}
	root, err := x509.ParseCertificate(rootOf(g.rig))
	if err != nil {
		g.Fatal(err)
	}
	if err := a.Use(k, ca, []*x509.Certificate{root}); err != nil {
		g.Fatal(err)
	}
	a.Follow(storeIndex{g.store})
	g.at = g.serve(a)
}

// issue is a token of the relay's own.
func (g *region) issue(of string) jointoken.Token {
	made := jointoken.New(sha256.Sum256(g.ca.RawSubjectPublicKeyInfo))
	sum := made.Sum()
	own := &rig{T: g.T, store: g.store, kek: g.kek, clock: g.clock}
	own.put(authority.KindToken, made.ID, &adminv1.JoinToken{Id: made.ID, Region: of, Uses: 1, Sha256: sum[:], ExpireTime: timestamppb.New(g.clock.now().Add(time.Hour))})
	return made
}

func TestARelaySignsForItsRegionAloneAndHomeTakesItsWord(t *testing.T) {
	r := newRig(t)
	home := r.serve(r.open())
	eu, us := r.region(home, "eu"), r.region(home, "us")
	if !eu.ca.IsCA || !eu.ca.MaxPathLenZero || eu.ca.MaxPathLen != 0 || eu.ca.URIs[0].String() != "spiffe://hopgate/relay/eu/relay-eu" || eu.ca.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("the relay's authority: %v %v", eu.ca.URIs, eu.ca)
	}
	if life := eu.ca.NotAfter.Sub(r.clock.now()); life < 29*24*time.Hour || eu.leaf().IsCA {
		t.Errorf("its life %s", life)
	}
	n := r.caller()
	res, err := n.enroll(eu.at, &syncv1.EnrollRequest{Token: eu.issue("eu").Reveal(), Node: "n1"})
	if err != nil || len(res.GetChain()) != 2 || res.GetRegion() != "eu" || res.GetAuthority() != nil {
		t.Fatalf("%v %v", res, err)
	}
	if _, err := r.caller().enroll(eu.at, &syncv1.EnrollRequest{Token: eu.issue("us").Reveal(), Node: "n2"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a certificate for another region: %v", err)
	}
	signed := n.cert
	for name, tc := range map[string]struct {
		at   string
		code codes.Code
	}{"at the relay": {eu.at, codes.OK}, "at home": {home, codes.OK}, "at another relay": {us.at, codes.PermissionDenied}} {
		n.cert = signed
		if _, err := n.enroll(tc.at, &syncv1.EnrollRequest{Node: "n1"}); status.Code(err) != tc.code {
			t.Errorf("renewed %s: %v", name, err)
		}
	}
	n.cert = signed
	if _, err := n.enroll(home, &syncv1.EnrollRequest{Node: "n1", AuthorityCsr: n.request(eu.signs)}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a data plane asks for what a relay has: %v", err)
	}
}

func TestWhatARelayForgesIsRefused(t *testing.T) {
	r := newRig(t)
	home := r.serve(r.open())
	eu := r.region(home, "eu")
	foreign := eu.leaf()
	foreign.URIs = slices.Clone(foreign.URIs)
	foreign.URIs[0].Path = "/dp/us/n1"
	evil := r.caller()
	der, err := x509.CreateCertificate(rand.Reader, foreign, eu.ca, evil.key.Public(), eu.signs)
	if err != nil {
		t.Fatal(err)
	}
	forged := [][]byte{der, eu.ca.Raw}
	evil.cert = forged
	if _, err := evil.enroll(home, &syncv1.EnrollRequest{Node: "n1"}); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "signs for that region alone") {
		t.Errorf("a data plane of another region: %v", err)
	}
	relay := eu.leaf() // says that it is a relay, but its own relay signed it
	if der, err = x509.CreateCertificate(rand.Reader, relay, eu.ca, evil.key.Public(), eu.signs); err != nil {
		t.Fatal(err)
	}
	evil.cert = [][]byte{der, eu.ca.Raw}
	if _, err := evil.enroll(home, &syncv1.EnrollRequest{Node: "relay-eu", AuthorityCsr: evil.request(evil.key)}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a relay of a relay: %v", err)
	}
}

func TestARelayRenewsItsCertificatesAndLosesAllWhenItIsRevoked(t *testing.T) {
	r := newRig(t)
	home := r.serve(r.open())
	eu := r.region(home, "eu")
	n := r.caller()
	if _, err := n.enroll(eu.at, &syncv1.EnrollRequest{Token: eu.issue("eu").Reveal(), Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	r.clock.move(20 * time.Hour)
	res, err := eu.enroll(home, &syncv1.EnrollRequest{Node: "relay-eu", AuthorityCsr: eu.request(eu.signs)})
	if err != nil || len(res.GetAuthority()) == 0 {
		t.Fatalf("%v %v", res, err)
	}
	if _, err := eu.enroll(home, &syncv1.EnrollRequest{Node: "relay-eu"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("as a data plane: %v", err)
	}
	r.put(authority.KindNode, "relay-eu", &configv1.Node{Name: "relay-eu", Revoked: true})
	if _, err := eu.enroll(home, &syncv1.EnrollRequest{Node: "relay-eu", AuthorityCsr: eu.request(eu.signs)}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("revoked: %v", err)
	}
	if _, err := n.enroll(home, &syncv1.EnrollRequest{Node: "n1"}); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "relay-eu") {
		t.Errorf("signed by a relay that is revoked: %v", err)
	}
}

func TestWhatHomeRenewedOnARelaysWordGoesWithTheRelay(t *testing.T) {
	r := newRig(t)
	home := r.serve(r.open())
	eu := r.region(home, "eu")
	n := r.caller()
	if _, err := n.enroll(eu.at, &syncv1.EnrollRequest{Token: eu.issue("eu").Reveal(), Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.clock.move(time.Hour)
		if res, err := n.enroll(home, &syncv1.EnrollRequest{Node: "n1"}); err != nil || len(res.GetChain()) != 1 {
			t.Fatalf("%v %v", res, err)
		}
	}
	kept := n.cert
	for name, registration := range map[string]*configv1.Node{"revoked": {Name: "relay-eu", Revoked: true}, "readmitted": {Name: "relay-eu", NotBefore: timestamppb.New(r.clock.now().Add(time.Minute))}} {
		r.put(authority.KindNode, "relay-eu", registration)
		n.cert = kept
		if _, err := n.enroll(home, &syncv1.EnrollRequest{Node: "n1"}); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "relay-eu") && name == "revoked" {
			t.Errorf("the relay is %s: %v", name, err)
		}
	}
}
