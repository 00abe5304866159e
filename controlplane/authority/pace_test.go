package authority_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/authority"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// showing is the context of a call over a connection that began with these certificates.
func showing(ctx context.Context, chain ...*x509.Certificate) context.Context {
	state := tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}
	return peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}

// member is a data plane that has joined.
func (r *rig) member(a *authority.Authority, node string) (c *caller, ctx context.Context) {
	r.Helper()
	c = r.caller()
	res, err := a.Enroll(r.Context(), &syncv1.EnrollRequest{Token: r.token(nil).Reveal(), Node: node, Csr: c.csr()})
	if err != nil {
		r.Fatal(err)
	}
	c.cert = res.GetChain()
	root, err := x509.ParseCertificate(rootOf(r))
	if err != nil {
		r.Fatal(err)
	}
	return c, showing(r.Context(), c.leaf(), root)
}

func TestAFloodOfOneKindTakesNoTurnsFromTheOthers(t *testing.T) {
	r := newRig(t)
	a := r.open()
	n1, n1ctx := r.member(a, "n1")
	n2, n2ctx := r.member(a, "n2")
	many := r.token(func(m *adminv1.JoinToken) { m.Uses = 100 }).Reveal()
	pin := r.token(nil).Pin
	flood := func(ctx context.Context, times int, r func() *syncv1.EnrollRequest) {
		for range times {
			if _, err := a.Enroll(ctx, r()); err == nil {
				t.Fatal("the flood got a certificate")
			}
		}
	}
	flood(t.Context(), 2000, func() *syncv1.EnrollRequest { return &syncv1.EnrollRequest{} })
	flood(n1ctx, 2000, func() *syncv1.EnrollRequest { return &syncv1.EnrollRequest{Node: "n1"} })
	if _, err := a.Enroll(n2ctx, &syncv1.EnrollRequest{Node: "n2", Csr: n2.csr()}); err != nil {
		t.Errorf("a data plane renews: %v", err)
	}
	if _, err := a.Enroll(n1ctx, &syncv1.EnrollRequest{Node: "n1", Csr: n1.csr()}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the one that floods renews: %v", err)
	}
	flood(t.Context(), 200, func() *syncv1.EnrollRequest { return &syncv1.EnrollRequest{Token: "x"} })
	flood(t.Context(), 200, func() *syncv1.EnrollRequest {
		return &syncv1.EnrollRequest{Token: jointoken.New(pin).Reveal()}
	})
	flood(t.Context(), 200, func() *syncv1.EnrollRequest { return &syncv1.EnrollRequest{Token: many} })
	c := r.caller()
	if _, err := a.Enroll(t.Context(), &syncv1.EnrollRequest{Token: r.token(nil).Reveal(), Node: "n3", Csr: c.csr()}); err != nil {
		t.Errorf("a data plane joins: %v", err)
	}
}

func TestAConnectionThatOutlivesItsCertificateRenewsNothing(t *testing.T) {
	r := newRig(t)
	a := r.open()
	c, ctx := r.member(a, "n1")
	r.clock.move(authority.Life + time.Minute)
	if _, err := a.Enroll(ctx, &syncv1.EnrollRequest{Node: "n1", Csr: c.csr()}); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("renewed: %v", err)
	}
}

func TestACertificateOfAFilesAuthorityIsntRenewed(t *testing.T) {
	r := newRig(t)
	a := r.open()
	c := r.caller()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "files"}, IsCA: true, BasicConstraintsValid: true, NotBefore: r.clock.now(), NotAfter: r.clock.now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: "hopgate", Path: "/dp/eu/x"}, {Scheme: "spiffe", Host: "hopgate", Path: "/relay/eu/x"}}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*syncv1.EnrollRequest{{Node: "x", Csr: c.csr()}, {Node: "x", Csr: c.csr(), AuthorityCsr: c.csr()}} {
		if _, err := a.Enroll(showing(t.Context(), cert, cert), req); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "join with a token") {
			t.Errorf("with a file's certificate: %v", err)
		}
	}
}

func TestARelayIsNoHomeForRelays(t *testing.T) {
	r := newRig(t)
	eu := r.region(r.serve(r.open()), "eu")
	_, err := eu.enroll(eu.at, &syncv1.EnrollRequest{Node: "relay-eu", AuthorityCsr: eu.request(eu.signs)})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "at home") {
		t.Errorf("renewed at a relay: %v", err)
	}
}

func TestNamesThatJoinedAtHomeArentTakenAtARelay(t *testing.T) {
	r := newRig(t)
	a := r.open()
	home := r.serve(a)
	eu := r.region(home, "eu")
	n1 := r.caller()
	if _, err := n1.enroll(home, &syncv1.EnrollRequest{Token: r.token(func(m *adminv1.JoinToken) { m.Region = "us" }).Reveal(), Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	nodes := authority.NewNodes(storeIndex{r.store})
	for _, name := range []string{"n1", "relay-eu"} {
		c := r.caller()
		if _, err := c.enroll(eu.at, &syncv1.EnrollRequest{Token: eu.issue("eu").Reveal(), Node: name}); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{nodes.Refused(name, c.leaf()), second(c.enroll(home, &syncv1.EnrollRequest{Node: name}))} {
			if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "belongs to another") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, leaf := range map[string]*x509.Certificate{"n1": n1.leaf(), "relay-eu": eu.leaf()} {
		if err := nodes.Refused(name, leaf); err != nil {
			t.Error(err)
		}
	}
	if err := nodes.Refused("relay-eu", eu.ca); err != nil {
		t.Error(err)
	}
	if _, err := n1.enroll(home, &syncv1.EnrollRequest{Node: "n1"}); err != nil {
		t.Error(err)
	}
}
