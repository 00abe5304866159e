package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// mostAnswer bounds the answer to a call, in bytes.
const mostAnswer = 64 << 10

// errOtherAuthority is a control plane that isn't of the token's fleet.
var errOtherAuthority = errors.New("the control plane's certificate doesn't lead to the authority of the join token: it is another fleet's, or somebody stands between; nothing was sent to it")

// Call asks a control plane at an address for a certificate.
func Call(ctx context.Context, address string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
	var refused atomic.Bool
	if check := cfg.VerifyConnection; check != nil { // gRPC tells of a failed handshake as text only
		cfg = cfg.Clone()
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			err := check(s)
			if errors.Is(err, errOtherAuthority) {
				refused.Store(true)
			}
			return err
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostAnswer)))
	if err != nil {
		return nil, err
	}
	res, err := syncv1.NewEnrollServiceClient(conn).Enroll(ctx, r)
	closed := conn.Close()
	if err != nil && refused.Load() {
		return nil, errOtherAuthority
	}
	return res, errors.Join(err, closed)
}

// pinned trusts a control plane whose certificate leads to the authority with that public key, and is for the name it is reached under.
func pinned(pin [sha256.Size]byte, host string, now func() time.Time) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Time: now, InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does, against the pin
		VerifyConnection: func(s tls.ConnectionState) error { return verify(s.PeerCertificates, pin, host, now()) }}
}

func verify(shown []*x509.Certificate, pin [sha256.Size]byte, host string, now time.Time) error {
	if len(shown) == 0 {
		return errOtherAuthority
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range shown[1:] {
		if sha256.Sum256(c.RawSubjectPublicKeyInfo) == pin {
			roots.AddCert(c)
			found = true
		} else {
			between.AddCert(c)
		}
	}
	if !found {
		return errOtherAuthority
	}
	leaf := shown[0]
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	// A relay's authority is good for who pins that one: a token of the fleet isn't for relays to read.
	if errors.As(err, new(x509.UnknownAuthorityError)) || relayed(chains) {
		return errOtherAuthority
	}
	if err != nil {
		return fmt.Errorf("the control plane's certificate: %w", err)
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fmt.Errorf("%w; start the control plane with --sync-name %s", err, host)
	}
	return nil
}
