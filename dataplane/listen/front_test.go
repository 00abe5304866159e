package listen

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"
	"testing"
)

func TestNamesOfCertificates(t *testing.T) {
	spiffe, err := url.Parse("spiffe://example.com/build")
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}, DNSNames: []string{"build.example.com", "b.example.com"}, URIs: []*url.URL{spiffe},
		EmailAddresses: []string{"a@example.com"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}
	ca := &x509.Certificate{DNSNames: []string{"ca.example.com"}}
	for name, c := range map[string]struct {
		state *tls.ConnectionState
		want  []string
	}{
		"plain":                     {nil, nil},
		"TLS without a certificate": {&tls.ConnectionState{}, nil},
		"not verified":              {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, nil},
		"verified": {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, ca}}},
			[]string{"build.example.com", "b.example.com", "spiffe://example.com/build"}},
	} {
		if got := names(c.state); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := names(&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}); &got[0] == &leaf.DNSNames[0] {
		t.Error("the certificate's own list is handed out")
	}
}
