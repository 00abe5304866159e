package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

func TestReplicasMakeOneAuthority(t *testing.T) {
	r := newRig(t)
	r.store.Ambiguous(true)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := authority.Ensure(t.Context(), r.store.Replica(), r.kek); err != nil {
				t.Errorf("ensure: %v", err)
			}
		})
	}
	group.Wait()
	if list, err := r.store.Changes(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Fatalf("%d changes, %v", len(list), err)
	}
	if err := authority.Ensure(t.Context(), r.store, newRig(t).kek); !errors.Is(err, secret.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	if strings.Contains(string(r.head().Object.Body), "PRIVATE") {
		t.Error("the key is stored in the open")
	}
	s := memstore.New()
	s.SetDown()
	if authority.Ensure(t.Context(), s, r.kek) == nil {
		t.Error("a store that is down has an authority")
	}
}

func TestADataPlaneJoinsAndIsWhatTheTokenSays(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	c := r.caller()
	res, err := c.enroll(at, &syncv1.EnrollRequest{Token: r.token(func(m *adminv1.JoinToken) { m.Group = "blue" }).Reveal(), Node: "Node.1"})
	if err != nil || res.GetRegion() != "eu" || res.GetGroup() != "blue" {
		t.Fatalf("%v %v", res, err)
	}
	leaf := c.leaf()
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://hopgate/dp/eu/blue/Node.1" || len(leaf.DNSNames) != 0 || leaf.IsCA {
		t.Errorf("certificate of %v, %v", leaf.URIs, leaf.DNSNames)
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("usage %v", leaf.ExtKeyUsage)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life != authority.Life+authority.Skew {
		t.Errorf("it lives %s", life)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: r.ca(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a data plane can pass for a control plane")
	}
}

func TestASingleUseTokenIsUsedOnceByTwoReplicasAtOnce(t *testing.T) {
	for range 10 {
		r := newRig(t)
		addresses := []string{r.serve(r.open()), r.serve(r.open())}
		token := r.token(nil)
		callers := []*caller{r.caller(), r.caller()}
		errs := make([]error, 2)
		var group sync.WaitGroup
		start := make(chan struct{})
		for i, c := range callers {
			req := &syncv1.EnrollRequest{Token: token.Reveal(), Node: []string{"a", "b"}[i], Csr: c.csr()}
			group.Go(func() {
				<-start
				_, errs[i] = c.enroll(addresses[i], req)
			})
		}
		close(start)
		group.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%v, %v", errs[0], errs[1])
		}
		if err := errors.Join(errs...); status.Code(errors.Unwrap(err)) != codes.Unauthenticated && !strings.Contains(err.Error(), "used up (1 of 1)") {
			t.Fatal(err)
		}
	}
}

func TestTokensThatDontOpenAnything(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	good := r.token(nil)
	parts := strings.Split(good.Reveal(), "_")
	forged := "hgj_" + parts[1] + "_" + strings.Repeat("0", 64) + "_" + parts[3]
	old := r.token(func(m *adminv1.JoinToken) { m.ExpireTime = timestamppb.New(r.clock.now()) })
	ofN := r.token(func(m *adminv1.JoinToken) { m.Node = "n9" })
	used := r.token(func(m *adminv1.JoinToken) { m.Used = 1 })
	relay := r.token(func(m *adminv1.JoinToken) { m.Relay = true })
	const uniform = "the join token is unknown, deleted or wrong; ask for a new one: hopgate token create"
	for name, tc := range map[string]struct {
		token, node string
		code        codes.Code
		says        string
	}{
		"unknown":      {jointoken.New(good.Pin).Reveal(), "n1", codes.Unauthenticated, uniform},
		"wrong secret": {forged, "n1", codes.Unauthenticated, uniform},
		"no token":     {"x", "n1", codes.Unauthenticated, uniform},
		"long":         {strings.Repeat("x", 1<<20), "n1", codes.Unauthenticated, uniform},
		"none":         {"", "n1", codes.Unauthenticated, "neither a join token nor a certificate"},
		"ended":        {old.Reveal(), "n1", codes.Unauthenticated, "ended at"},
		"used up":      {used.Reveal(), "n1", codes.Unauthenticated, "used up (1 of 1)"},
		"other node":   {ofN.Reveal(), "n1", codes.PermissionDenied, "--node n9"},
		"relay":        {relay.Reveal(), "n1", codes.FailedPrecondition, "token or certificate of a relay"},
		"bad name":     {good.Reveal(), "../n1", codes.InvalidArgument, "is not a node name"},
		"no name":      {good.Reveal(), "", codes.InvalidArgument, "is not a node name"},
	} {
		_, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: tc.token, Node: tc.node})
		if status.Code(err) != tc.code || !strings.Contains(status.Convert(err).Message(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlySmallKeysOfTheirOwnAreSigned(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	big, _ := rsa.GenerateKey(rand.Reader, 2048)
	p384, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, other)
	rsaKey, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, big)
	forged := r.caller().csr()
	forged[len(forged)-1] ^= 1
	for name, tc := range map[string]struct {
		csr  []byte
		says string
	}{"P-384": {p384, "another curve"}, "RSA": {rsaKey, "another kind"}, "forged": {forged, "its own key"}, "garbage": {[]byte("x"), "PKCS #10"}, "long": {make([]byte, 5000), "5000 bytes"}} {
		_, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: r.token(nil).Reveal(), Node: "n1", Csr: tc.csr})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestANameBelongsToWhoJoinedWithIt(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	many := r.token(func(m *adminv1.JoinToken) { m.Uses = 2 })
	for range 3 { // the same one again isn't counted
		if _, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: many.Reveal(), Node: "n1"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: r.token(nil).Reveal(), Node: "n1"})
	if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), "hopgate node revoke n1 --readmit") {
		t.Fatal(err)
	}
	if _, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: many.Reveal(), Node: "n2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.caller().enroll(at, &syncv1.EnrollRequest{Token: many.Reveal(), Node: "n3"}); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
}

func TestACertificateIsRenewedWithoutTouchingTheStore(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	c := r.caller()
	if _, err := c.enroll(at, &syncv1.EnrollRequest{Token: r.token(nil).Reveal(), Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	before, err := r.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := c.leaf()
	for range 5 { // for days, longer than the control plane's own certificate
		r.clock.move(16 * time.Hour)
		if _, err := c.enroll(at, &syncv1.EnrollRequest{Node: "n1"}); err != nil {
			t.Fatal(err)
		}
	}
	if last := c.leaf(); last.NotAfter.Sub(first.NotAfter) != 80*time.Hour || last.URIs[0].String() != first.URIs[0].String() {
		t.Errorf("%s %s", last.NotAfter, last.URIs[0])
	}
	after, err := r.store.Load(t.Context())
	if err != nil || after.Revision != before.Revision {
		t.Errorf("revision %d after %d: %v", after.Revision, before.Revision, err)
	}
	if _, err := c.enroll(at, &syncv1.EnrollRequest{Node: "n2"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another name: %v", err)
	}
	r.clock.move(25 * time.Hour)
	if _, err := c.enroll(at, &syncv1.EnrollRequest{Node: "n1"}); err == nil {
		t.Error("renewed with a certificate that had ended")
	}
}

func TestARevokedDataPlaneGetsNothingUntilItIsReadmitted(t *testing.T) {
	r := newRig(t)
	at := r.serve(r.open())
	token := r.token(func(m *adminv1.JoinToken) { m.Uses = 5 }).Reveal()
	c := r.caller()
	if _, err := c.enroll(at, &syncv1.EnrollRequest{Token: token, Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	old := c.leaf()
	nodes := authority.NewNodes(storeIndex{r.store})
	if err := nodes.Refused("n1", old); err != nil {
		t.Fatal(err)
	}
	r.put(authority.KindNode, "n1", &configv1.Node{Name: "n1", Revoked: true})
	for _, err := range []error{nodes.Refused("n1", old), nodes.Refused("n1", nil), second(c.enroll(at, &syncv1.EnrollRequest{Node: "n1"})),
		second(r.caller().enroll(at, &syncv1.EnrollRequest{Token: token, Node: "n1"}))} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "hopgate node revoke n1 --readmit") {
			t.Errorf("revoked: %v", err)
		}
	}
	r.clock.move(1500 * time.Millisecond)
	r.put(authority.KindNode, "n1", &configv1.Node{Name: "n1", NotBefore: timestamppb.New(r.clock.now())})
	for _, err := range []error{nodes.Refused("n1", old), second(c.enroll(at, &syncv1.EnrollRequest{Node: "n1"}))} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "before it was readmitted") {
			t.Errorf("readmitted, with the old certificate: %v", err)
		}
	}
	c = r.caller() // in the same moment
	if _, err := c.enroll(at, &syncv1.EnrollRequest{Token: token, Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	if err := nodes.Refused("n1", c.leaf()); err != nil {
		t.Error(err)
	}
	if err := nodes.Refused("n1", nil); err != nil {
		t.Error(err)
	}
	of := &x509.Certificate{NotBefore: r.clock.now().Add(-time.Minute)} // of a file
	if nodes.Refused("n1", of) == nil {
		t.Error("a certificate of a file that was made before passes")
	}
	of.NotBefore = r.clock.now()
	if err := nodes.Refused("n1", of); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAttemptsAreBounded(t *testing.T) {
	r := newRig(t)
	a := r.open()
	crowded, pin := 0, r.token(nil).Pin
	for range 200 {
		if _, err := a.Enroll(t.Context(), &syncv1.EnrollRequest{Token: jointoken.New(pin).Reveal()}); status.Code(err) == codes.ResourceExhausted {
			crowded++
		}
	}
	if crowded < 100 {
		t.Errorf("%d of 200 attempts were refused", crowded)
	}
}

func FuzzSigningRequest(f *testing.F) {
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		if authority.CheckRequest(der) == nil {
			if _, err := x509.ParseCertificateRequest(der); err != nil {
				t.Error(err)
			}
		}
	})
}
