package stream

import (
	"context"
	"crypto/x509"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Refused says why a data plane is shut out; nil: it isn't. The certificate is nil when it came without one. It must not wait.
type Refused func(node string, cert *x509.Certificate) error

// Certified is who a certificate says it is: its URI SAN is spiffe://<domain>/dp/<region>/<group>/<node>, or without group
// spiffe://<domain>/dp/<region>/<node>.
func Certified(cert *x509.Certificate) (Identity, bool) { return certified(cert) }

// CheckIdentity returns what is wrong with the names in an identity, as a status.
func CheckIdentity(id Identity) error { return check(id, &syncv1.Hello{}) }

// Admitting is identify without data planes that are shut out.
func Admitting(identify Identify, refused Refused) Identify {
	return func(ctx context.Context, h *syncv1.Hello) (Identity, error) {
		id, err := identify(ctx, h)
		if err == nil {
			err = RefusedBy(ctx, refused, id.Node)
		}
		return id, err
	}
}

// Reject ends the streams of those of the named data planes, and of those with certificates of the named relays, that are shut out; without
// names, of all that are.
func (s *Server) Reject(refused Refused, nodes ...string) {
	for _, sess := range s.streams(nodes) {
		if err := RefusedBy(sess.stream.Context(), refused, sess.joined.Node); err != nil {
			s.cfg.Fleet.Dismiss(sess.joined.Node) // a rollout doesn't take it for one that crashed
			sess.end(err)
		}
	}
}

// streams are those of the named data planes, and those with certificates of the named relays; without names, all.
func (s *Server) streams(nodes []string) (out []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sess := range s.sessions {
		if len(nodes) == 0 || slices.Contains(nodes, name) || sess.signedBy(nodes) {
			out = append(out, sess)
		}
	}
	return out
}

// signedBy says whether a relay of these names signed the certificate of the stream.
func (s *session) signedBy(names []string) bool {
	return relays(s.stream.Context(), func(_, node string, _ *x509.Certificate) error {
		if slices.Contains(names, node) {
			return errCut // stops the search
		}
		return nil
	}) != nil
}

// judge ends a stream that joined while its data plane was shut out.
func (s *Server) judge(sess *session) {
	if s.cfg.Refused == nil {
		return
	}
	if err := RefusedBy(sess.stream.Context(), s.cfg.Refused, sess.joined.Node); err != nil {
		sess.end(err)
	}
}

// certificate is the verified client certificate of a call; nil: there is none.
func certificate(ctx context.Context) *x509.Certificate {
	chains := Chains(ctx)
	if len(chains) == 0 {
		return nil
	}
	return chains[0][0]
}

// CertifiedOnly is an interceptor that takes streams only from who has shown a certificate. It costs a stranger nothing of what data planes share:
// turns for new streams, and the time to say hello.
func CertifiedOnly(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if certificate(st.Context()) == nil {
		return status.Error(codes.Unauthenticated, "no verified client certificate; the sync port wants mutual TLS")
	}
	return handle(srv, st)
}
