package stream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/stream"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// chain is a call with a verified chain: one URI each, empty for none.
func chain(t *testing.T, uris ...string) context.Context {
	t.Helper()
	var certs []*x509.Certificate
	for _, uri := range uris {
		c := &x509.Certificate{}
		if uri != "" {
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
		certs = append(certs, c)
	}
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{certs}}}})
}

func TestARelayVouchesForItsRegionAlone(t *testing.T) {
	const eu = "spiffe://hopgate/dp/eu/n1"
	for name, tc := range map[string]struct {
		ctx  context.Context
		want codes.Code
	}{
		"home":               {chain(t, eu, ""), codes.OK},
		"another authority":  {chain(t, eu, "", ""), codes.OK},
		"its relay":          {chain(t, eu, "spiffe://hopgate/relay/eu/r", ""), codes.OK},
		"another's relay":    {chain(t, eu, "spiffe://hopgate/relay/us/r", ""), codes.PermissionDenied},
		"a relay of nothing": {chain(t, eu, "spiffe://hopgate/relay/", ""), codes.PermissionDenied},
		"no node":            {chain(t, eu, "spiffe://hopgate/relay/eu", ""), codes.PermissionDenied},
		"a longer chain":     {chain(t, eu, "", "spiffe://hopgate/relay/us/r", ""), codes.PermissionDenied},
	} {
		if _, err := stream.FromCertificate(tc.ctx, &syncv1.Hello{Node: "n1", Region: "eu"}); status.Code(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoJoinedAtARelayIsNoRelay(t *testing.T) {
	hello := &syncv1.Hello{Node: "n1", Region: "eu", Relay: true}
	if _, err := stream.FromCertificate(chain(t, "spiffe://hopgate/dp/eu/n1", "spiffe://hopgate/relay/eu/r", ""), hello); status.Code(err) != codes.PermissionDenied {
		t.Errorf("signed by a relay: %v", err)
	}
	if _, err := stream.FromCertificate(chain(t, "spiffe://hopgate/dp/eu/n1", ""), hello); err != nil {
		t.Errorf("signed at home: %v", err)
	}
}

func TestARelayThatIsShutOutTakesWhatItSignedAlong(t *testing.T) {
	refused := func(node string, _ *x509.Certificate) error {
		if node == "r" {
			return status.Error(codes.PermissionDenied, "r is revoked")
		}
		return nil
	}
	if err := stream.RefusedBy(chain(t, "spiffe://hopgate/dp/eu/n1", "spiffe://hopgate/relay/eu/r", ""), refused, "n1"); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	if err := stream.RefusedBy(chain(t, "spiffe://hopgate/dp/eu/n1", "spiffe://hopgate/relay/eu/other", ""), refused, "n1"); err != nil {
		t.Error(err)
	}
}
