package authority

import (
	"crypto/x509"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/stream"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Index is the stored config as a control plane sees it; *view.Views is one. It is safe for concurrent use.
type Index interface {
	// Get returns one head.
	Get(kind, name string) (store.Head, bool)
}

// Nodes says which data planes are shut out. It is safe for concurrent use.
type Nodes struct{ index Index }

// NewNodes reads registrations from an index.
func NewNodes(index Index) *Nodes { return &Nodes{index} }

// Refused returns why a data plane is shut out, as a status for it to read; nil when it isn't. Without a certificate its name alone counts. A
// registration that can't be read shuts out.
func (n *Nodes) Refused(node string, cert *x509.Certificate) error {
	h, ok := n.index.Get(KindNode, node)
	if !ok {
		return nil
	}
	m := &configv1.Node{}
	if proto.Unmarshal(h.Object.Body, m) != nil {
		return status.Errorf(codes.PermissionDenied, "the registration of data plane %q can't be read; write it anew: hopgate node revoke %s --readmit", node, node)
	}
	return refused(m, node, cert)
}

func refused(m *configv1.Node, node string, cert *x509.Certificate) error {
	if m.GetRevoked() {
		return revoked(node)
	}
	if cert != nil && made(cert).Before(notBefore(m)) {
		return status.Errorf(codes.PermissionDenied, "the certificate of data plane %q was made before it was readmitted, and is worthless; join with a new token, or make a new certificate", node)
	}
	if cert != nil && m.GetToken() != "" {
		return foreign(m, node, cert)
	}
	return nil
}

// foreign refuses a certificate that says a name which somebody joined with, for another place or, if that is a relay, for a data plane: a
// relay that gives certificates doesn't know which names others gave.
func foreign(m *configv1.Node, node string, cert *x509.Certificate) error {
	id, ok := stream.Certified(cert)
	if !ok || id.Node != node {
		return nil // a relay's authority
	}
	if _, _, relay := stream.RelayOf(cert); id.Region == m.GetRegion() && id.Group == m.GetGroup() && (relay || !m.GetRelay()) {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "the name %q belongs to another that joined for region %q, group %q; give this one another with --node, or free the name: hopgate node revoke %s --readmit",
		node, m.GetRegion(), m.GetGroup(), node)
}

func revoked(node string) error {
	return status.Errorf(codes.PermissionDenied, "data plane %q is revoked; to let it come back: hopgate node revoke %s --readmit", node, node)
}

// notBefore is since when certificates of a data plane count; zero: all do.
func notBefore(m *configv1.Node) time.Time {
	if m.GetNotBefore() == nil {
		return time.Time{}
	}
	return m.GetNotBefore().AsTime()
}
