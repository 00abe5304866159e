package authority

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// register writes down that a data plane joins with a token, and that the token was used, in one commit. The same data plane may come again
// with a token for several: that isn't counted and writes nothing. Conflicts are for the caller to try again.
func (a *Authority) register(ctx context.Context, token jointoken.Token, r *syncv1.EnrollRequest) (grant, error) {
	node := r.GetNode()
	tokenHead, t, err := a.proven(ctx, token)
	if err != nil {
		return grant{}, err
	}
	id := stream.Identity{Node: node, Region: t.GetRegion(), Group: t.GetGroup()}
	if err := stream.CheckIdentity(id); err != nil {
		return grant{}, err
	}
	nodeHead, n, err := a.node(ctx, node)
	if err != nil {
		return grant{}, err
	}
	back := nodeHead != nil && n.GetToken() == t.GetId() && t.GetUses() > 1 && n.GetRegion() == id.Region && n.GetGroup() == id.Group
	if err := mayJoin(t, n, node, back, a.cfg.Now()); err != nil {
		return grant{}, err
	}
	if err := suits(t.GetRelay(), r); err != nil {
		return grant{}, err
	}
	g := grant{Identity: id, notBefore: notBefore(n), relay: t.GetRelay()}
	if back {
		return g, nil
	}
	t.Used++
	n.Name, n.Region, n.Group, n.Token = node, id.Region, id.Group, t.GetId()
	n.Relay = g.relay
	return g, a.commit(ctx, tokenHead, t, nodeHead, n)
}

// proven returns a stored token whose secret is that of the given one. An unknown one costs a comparison, too.
func (a *Authority) proven(ctx context.Context, token jointoken.Token) (store.Head, *adminv1.JoinToken, error) {
	t := &adminv1.JoinToken{Sha256: make([]byte, 32)}
	head, err := a.cfg.Store.Get(ctx, confset.Key{Kind: KindToken, Name: token.ID})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return head, nil, err
	}
	if err == nil {
		if err := proto.Unmarshal(head.Object.Body, t); err != nil {
			return head, nil, fmt.Errorf("%s: %w", head.Object.Key, err)
		}
	}
	sum := token.Sum()
	if subtle.ConstantTimeCompare(sum[:], t.GetSha256()) != 1 || err != nil {
		return head, nil, unknown()
	}
	return head, t, nil
}

// node returns a registration; without one the head is nil and the message empty.
func (a *Authority) node(ctx context.Context, name string) (*store.Head, *configv1.Node, error) {
	m := &configv1.Node{}
	head, err := a.cfg.Store.Get(ctx, confset.Key{Kind: KindNode, Name: name})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, m, nil
	case err != nil:
		return nil, m, err
	}
	if err := proto.Unmarshal(head.Object.Body, m); err != nil {
		return nil, m, fmt.Errorf("%s: %w", head.Object.Key, err)
	}
	return &head, m, nil
}

// mayJoin says what stands against a data plane that has proven a token. It may be told: who holds the token knows it.
func mayJoin(t *adminv1.JoinToken, n *configv1.Node, node string, back bool, now time.Time) error {
	const anew = "ask for a new one: hopgate token create"
	switch {
	case !now.Before(t.GetExpireTime().AsTime()):
		return status.Errorf(codes.Unauthenticated, "the join token %s ended at %s; "+anew, t.GetId(), t.GetExpireTime().AsTime().Format(time.RFC3339))
	case t.GetNode() != "" && t.GetNode() != node:
		return status.Errorf(codes.PermissionDenied, "the join token %s is for data plane %q, not for %q; start it with --node %s, or "+anew, t.GetId(), t.GetNode(), node, t.GetNode())
	case n.GetRevoked():
		return revoked(node)
	case !back && t.GetUsed() >= t.GetUses():
		return status.Errorf(codes.Unauthenticated, "the join token %s is used up (%d of %d); "+anew, t.GetId(), t.GetUsed(), t.GetUses())
	case !back && n.GetToken() != "":
		return status.Errorf(codes.AlreadyExists, "the name %q belongs to a data plane that joined before; give this one another with --node, or free the name: hopgate node revoke %s --readmit", node, node)
	}
	return nil
}

// commit stores a use and a registration. An unknown outcome is asked for again with the same change, which is stored once.
func (a *Authority) commit(ctx context.Context, tokenHead store.Head, t *adminv1.JoinToken, nodeHead *store.Head, n *configv1.Node) error {
	now := a.cfg.Now().UTC()
	used, err := edited(tokenHead, t, now)
	if err != nil {
		return err
	}
	var joined store.Head
	if nodeHead != nil {
		joined, err = edited(*nodeHead, n, now)
	} else {
		joined, err = entry(confset.Key{Kind: KindNode, Name: n.GetName()}, ulid.Make().String(), n, now)
	}
	if err != nil {
		return err
	}
	w := write(now, max(tokenHead.Change, joined.Change), fmt.Sprintf("data plane %s joined with token %s", n.GetName(), t.GetId()))
	change(&w, &tokenHead, used)
	change(&w, nodeHead, joined)
	_, err = store.CommitSurely(ctx, a.cfg.Store, w)
	return err
}
