package stream

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Identity is who a data plane is and where it stands.
type Identity struct{ Node, Region, Group string }

// Identify says who is at the other end of a stream. Errors are gRPC statuses for the data plane to read.
type Identify func(ctx context.Context, h *syncv1.Hello) (Identity, error)

// Hello believes what the data plane says of itself. It is for connections that are trusted otherwise, such as plaintext on loopback.
func Hello(_ context.Context, h *syncv1.Hello) (Identity, error) {
	return Identity{Node: h.GetNode(), Region: h.GetRegion(), Group: h.GetGroup()}, nil
}

// FromCertificate believes the verified client certificate: its URI SAN is spiffe://<domain>/dp/<region>/<group>/<node>, or without group
// spiffe://<domain>/dp/<region>/<node>. A hello that says otherwise is refused, so that a mistake is seen where it was made,
// and so is a certificate that a relay signed for a region that isn't its own.
func FromCertificate(ctx context.Context, h *syncv1.Hello) (Identity, error) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return Identity{}, status.Error(codes.Unauthenticated, "no client certificate")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return Identity{}, status.Error(codes.Unauthenticated, "no verified client certificate; the sync port wants mutual TLS")
	}
	id, ok := certified(info.State.VerifiedChains[0][0])
	if !ok {
		return Identity{}, status.Error(codes.PermissionDenied, "the client certificate has no URI SAN like spiffe://<domain>/dp/<region>/<group>/<node>")
	}
	if said := (Identity{h.GetNode(), h.GetRegion(), h.GetGroup()}); said != id {
		return Identity{}, status.Errorf(codes.PermissionDenied, "the hello says node %q in region %q, group %q, the certificate says node %q in region %q, group %q; make them agree",
			said.Node, said.Region, said.Group, id.Node, id.Region, id.Group)
	}
	if err := Confined(ctx, id); err != nil || !h.GetRelay() {
		return id, err
	}
	return id, relays(ctx, func(_, node string, _ *x509.Certificate) error {
		return status.Errorf(codes.PermissionDenied, "the hello says that this is a relay, and the certificate is signed by relay %q; a relay's own is signed at home", node)
	})
}

func certified(cert *x509.Certificate) (Identity, bool) {
	for _, u := range cert.URIs {
		path, ok := strings.CutPrefix(u.Path, "/dp/")
		if u.Scheme != "spiffe" || !ok {
			continue
		}
		switch p := strings.Split(path, "/"); len(p) {
		case 2:
			return Identity{Region: p[0], Node: p[1]}, true
		case 3:
			return Identity{Region: p[0], Group: p[1], Node: p[2]}, true
		}
	}
	return Identity{}, false
}

// nodeName also fits host names.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

const wantNode = "write 1 to 128 letters, digits, dots, hyphens or underscores, a letter or digit first"

// check returns every violation of an identity and a hello as one status.
func check(id Identity, h *syncv1.Hello) error {
	var vs rules.Violations
	add := func(field, problem, fix string) {
		vs = append(vs, rules.Violation{Field: field, Problem: problem, Fix: fix})
	}
	if !nodeName.MatchString(id.Node) {
		add("hello.node", "is not a node name", wantNode)
	}
	for _, v := range rules.Region(id.Region) {
		add("hello.region", "is not a region name", v.Fix)
	}
	if id.Group != "" {
		for _, v := range rules.Region(id.Group) {
			add("hello.group", "is not a group name", v.Fix)
		}
	}
	for _, d := range []struct {
		field string
		value []byte
	}{{"hello.digest", h.GetDigest()}, {"hello.suspect_digest", h.GetSuspectDigest()}} {
		if n := len(d.value); n != 0 && n != len(confset.Digest{}) {
			add(d.field, "is not a digest", "send 32 bytes, or none")
		}
	}
	if len(vs) == 0 {
		return nil
	}
	return status.Error(codes.InvalidArgument, vs.Error())
}

// join checks a hello and says who joins.
func (s *Server) join(ctx context.Context, h *syncv1.Hello) (fleet.Joined, error) {
	if h == nil {
		return fleet.Joined{}, status.Error(codes.InvalidArgument, "the first message isn't a hello; send one")
	}
	id, err := s.cfg.Identify(ctx, h)
	if err == nil {
		err = check(id, h)
	}
	var ends time.Time
	if cert := certificate(ctx); cert != nil {
		ends = cert.NotAfter
	}
	return fleet.Joined{
		Node: id.Node, CertificateEnds: ends,
		Scope:   view.Scope{Region: id.Region, Group: id.Group, FeatureLevel: h.GetFeatureLevel(), Node: id.Node, Relay: h.GetRelay()},
		Version: h.GetVersion(), Suspect: len(h.GetSuspectDigest()) > 0, Relay: h.GetRelay(), Boot: h.GetBootId(),
		Epoch: h.GetEpoch(), Revision: h.GetRevision(), Digest: h.GetDigest(),
	}, err
}

// tooMany asks to come again later, at a random time so that the next wave is flatter.
func tooMany() error {
	st := status.New(codes.ResourceExhausted, "too many data planes connect at once; try again later")
	wait := durationpb.New(time.Second + rand.N(4*time.Second))
	if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: wait}); err == nil {
		st = with
	}
	return st.Err()
}
