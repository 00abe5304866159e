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

func TestACertificateNamesTheDataPlane(t *testing.T) {
	cases := map[string]struct {
		uri   string // empty: no certificate
		hello *syncv1.Hello
		want  codes.Code
	}{
		"agrees":         {"spiffe://example.org/dp/eu/blue/n1", &syncv1.Hello{Node: "n1", Region: "eu", Group: "blue"}, codes.OK},
		"without group":  {"spiffe://example.org/dp/eu/n1", &syncv1.Hello{Node: "n1", Region: "eu"}, codes.OK},
		"other node":     {"spiffe://example.org/dp/eu/n1", &syncv1.Hello{Node: "n2", Region: "eu"}, codes.PermissionDenied},
		"other region":   {"spiffe://example.org/dp/eu/n1", &syncv1.Hello{Node: "n1", Region: "us"}, codes.PermissionDenied},
		"other group":    {"spiffe://example.org/dp/eu/blue/n1", &syncv1.Hello{Node: "n1", Region: "eu"}, codes.PermissionDenied},
		"other purpose":  {"spiffe://example.org/cp/eu/blue/n1", &syncv1.Hello{Node: "n1", Region: "eu", Group: "blue"}, codes.PermissionDenied},
		"other scheme":   {"https://example.org/dp/eu/n1", &syncv1.Hello{Node: "n1", Region: "eu"}, codes.PermissionDenied},
		"no certificate": {"", &syncv1.Hello{Node: "n1", Region: "eu"}, codes.Unauthenticated},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			id, err := stream.FromCertificate(withCertificate(t, tc.uri), tc.hello)
			if status.Code(err) != tc.want {
				t.Fatalf("error %v, want %s", err, tc.want)
			}
			if err == nil && (id.Node != "n1" || id.Region != "eu" || id.Group != tc.hello.GetGroup()) {
				t.Errorf("identity %+v", id)
			}
		})
	}
	if _, err := stream.FromCertificate(t.Context(), nil); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a peer: %v", err)
	}
}

func withCertificate(t *testing.T, uri string) context.Context {
	t.Helper()
	var state tls.ConnectionState
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		state.VerifiedChains = [][]*x509.Certificate{{{URIs: []*url.URL{u}}}}
	}
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}
