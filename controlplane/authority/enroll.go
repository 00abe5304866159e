package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/stream"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// grant is what a certificate may say.
type grant struct {
	stream.Identity
	notBefore time.Time // certificates made before are worthless
	relay     bool      // it is that of a relay
	via       string    // the relay on whose word it is made; empty: none. What a relay forged goes with it, also if home renewed it
}

// Enroll makes a certificate for who has a join token, or for who comes with a certificate of the same name that is still good. The second leaves
// nothing in the store. Errors are statuses.
func (a *Authority) Enroll(ctx context.Context, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
	s, nodes := a.signer.Load(), a.nodes.Load()
	if s == nil || nodes == nil {
		return nil, status.Error(codes.Unavailable, "this control plane hasn't read its store yet; try again")
	}
	if err := a.pace.turn(ctx, nodes, r); err != nil {
		return nil, err
	}
	pub, err := keyOf(r.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "csr: "+err.Error())
	}
	var g grant
	if r.GetToken() != "" {
		g, err = a.join(ctx, r)
	} else {
		g, err = a.renew(ctx, s, nodes, r)
	}
	if err == nil {
		err = s.within(g)
	}
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	der, err := s.node(pub, g, a.cfg.Now())
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	out := s.answer(der, g.Identity)
	if err := s.empower(out, r.GetAuthorityCsr(), g, a.cfg.Now()); err != nil {
		return nil, a.explain(ctx, err)
	}
	a.cfg.Log.InfoContext(ctx, "certificate made", "node", g.Node, "region", g.Region, "group", g.Group, "relay", g.relay, "joined", r.GetToken() != "")
	return out, nil
}

func (s *signer) answer(der []byte, id stream.Identity) *syncv1.EnrollResponse {
	out := &syncv1.EnrollResponse{Chain: [][]byte{der}, Region: id.Region, Group: id.Group}
	if s.region != "" {
		out.Chain = append(out.Chain, s.issuer.Raw)
	}
	for _, ca := range s.authorities {
		out.Authorities = append(out.Authorities, ca.Raw)
	}
	return out
}

// explain logs a refusal and makes it a status. Causes stay in the log.
func (a *Authority) explain(ctx context.Context, err error) error {
	level := slog.LevelWarn
	st, ok := status.FromError(err)
	switch {
	case ok:
	case errors.Is(err, store.ErrUnavailable), again(err), errors.Is(err, store.ErrEpoch):
		st = status.New(codes.Unavailable, "the store can't be reached just now; try again")
	case ctx.Err() != nil:
		st = status.FromContextError(ctx.Err())
	default:
		level, st = slog.LevelError, status.New(codes.Internal, "internal error; the log of this control plane has the cause")
	}
	remote := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		remote = p.Addr.String()
	}
	a.cfg.Log.LogAttrs(ctx, level, "no certificate", slog.String("remote", remote), slog.Any("error", err))
	return st.Err()
}

// crowded asks to come again later.
func crowded() error {
	st := status.New(codes.ResourceExhausted, "too many certificates are asked for at once; try again later")
	if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}); err == nil {
		st = with
	}
	return st.Err()
}

// renew says what the next certificate of a data plane may say: what the one says with which it comes.
func (a *Authority) renew(ctx context.Context, s *signer, nodes *Nodes, r *syncv1.EnrollRequest) (grant, error) {
	node, cert := r.GetNode(), verified(ctx)
	if a.cfg.Now().After(cert.NotAfter) { // since the connection began
		return grant{}, status.Error(codes.Unauthenticated, "the certificate has ended; join with a token: hopgate token create")
	}
	if !s.leads(ctx) { // or an authority of files could never be got rid of
		return grant{}, status.Error(codes.PermissionDenied, "the certificate isn't of the fleet's own authority, which renews its own alone; join with a token: hopgate token create")
	}
	id, ok := stream.Certified(cert)
	if !ok {
		return grant{}, status.Error(codes.PermissionDenied, "the client certificate has no URI SAN like spiffe://<domain>/dp/<region>/<group>/<node>")
	}
	if node != "" && node != id.Node {
		return grant{}, status.Errorf(codes.PermissionDenied, "the certificate is that of data plane %q; a certificate of another name needs a join token", id.Node)
	}
	if err := stream.CheckIdentity(id); err != nil {
		return grant{}, err
	}
	relay := s.relay(ctx)
	if err := errors.Join(stream.Confined(ctx, id), suits(relay, r)); err != nil {
		return grant{}, err
	}
	return grant{Identity: id, relay: relay, via: stream.Via(ctx)}, stream.RefusedBy(ctx, nodes.Refused, id.Node)
}

// verified is the client certificate of a call; nil: none.
func verified(ctx context.Context) *x509.Certificate {
	chains := stream.Chains(ctx)
	if len(chains) == 0 {
		return nil
	}
	return chains[0][0]
}

// leads says whether the certificate of a call leads to the fleet's authority.
func (s *signer) leads(ctx context.Context) bool {
	return slices.ContainsFunc(stream.Chains(ctx), s.root)
}

func (s *signer) root(chain []*x509.Certificate) bool {
	return slices.ContainsFunc(s.authorities, chain[len(chain)-1].Equal)
}

// relay says whether a call comes with the certificate of a relay: one that names it, and that the fleet's authority itself signed.
func (s *signer) relay(ctx context.Context) bool {
	return slices.ContainsFunc(stream.Chains(ctx), func(chain []*x509.Certificate) bool {
		_, node, ok := stream.RelayOf(chain[0])
		return ok && node != "" && len(chain) == 2 && s.root(chain)
	})
}

// unknown is the one answer to tokens that are none of ours: it doesn't say what is wrong with them.
func unknown() error {
	return status.Error(codes.Unauthenticated, "the join token is unknown, deleted or wrong; ask for a new one: hopgate token create")
}

// join uses a token.
func (a *Authority) join(ctx context.Context, r *syncv1.EnrollRequest) (grant, error) {
	if len(r.GetToken()) > 1024 {
		return grant{}, unknown()
	}
	token, err := jointoken.Parse(r.GetToken())
	if err != nil {
		return grant{}, unknown()
	}
	for try := 1; ; try++ {
		g, err := a.register(ctx, token, r)
		if err == nil || !again(err) || try == tries {
			return g, err
		}
	}
}
