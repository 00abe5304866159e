package authority

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/stream"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// What one control plane does in a second for who asks: for those with a token that is known here, for data planes that renew, and for those who
// prove nothing, such as those with a token that was made elsewhere a moment ago. None of them takes turns from the others.
const (
	joinsPerSecond     = 50
	renewalsPerSecond  = 500
	strangersPerSecond = 10
)

// Of these, one token and one data plane get so many: who has stolen one doesn't take all turns.
const (
	joinsOfOne    = 40
	renewalsOfOne = 10
)

// pace holds the turns.
type pace struct {
	joins, renewals, strangers *rate.Limiter
	tokens, nodes              *turns
}

func newPace() *pace {
	limiter := func(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n), n) }
	return &pace{joins: limiter(joinsPerSecond), renewals: limiter(renewalsPerSecond), strangers: limiter(strangersPerSecond),
		tokens: newTurns(joinsOfOne), nodes: newTurns(renewalsOfOne)}
}

// turn refuses who has no turn. What costs next to nothing to refuse takes none, and isn't logged either: a flood of it is only a flood.
func (p *pace) turn(ctx context.Context, nodes *Nodes, r *syncv1.EnrollRequest) error {
	if r.GetToken() == "" {
		cert := verified(ctx)
		if cert == nil {
			return status.Error(codes.Unauthenticated, "neither a join token nor a certificate came; join with a token: hopgate token create")
		}
		id, _ := stream.Certified(cert)
		return allowed(p.nodes.take(id.Node) && p.renewals.Allow())
	}
	token, err := jointoken.Parse(r.GetToken())
	switch {
	case err != nil:
		return unknown()
	case nodes.knows(token):
		return allowed(p.tokens.take(token.ID) && p.joins.Allow())
	}
	return allowed(p.strangers.Allow())
}

func allowed(ok bool) error {
	if ok {
		return nil
	}
	return crowded()
}

// knows says whether a token is one of those that this control plane has heard of. One that it hasn't may still be stored.
func (n *Nodes) knows(token jointoken.Token) bool {
	h, ok := n.index.Get(KindToken, token.ID)
	t := &adminv1.JoinToken{}
	if !ok || proto.Unmarshal(h.Object.Body, t) != nil {
		return false
	}
	sum := token.Sum()
	return subtle.ConstantTimeCompare(sum[:], t.GetSha256()) == 1
}

// turns gives each name so many in a second. It is safe for concurrent use. What it holds is bounded by the names of one second.
type turns struct {
	most int

	mu    sync.Mutex
	began time.Time      // guarded by mu; when the second began
	taken map[string]int // guarded by mu
}

func newTurns(most int) *turns { return &turns{most: most, taken: map[string]int{}} }

func (t *turns) take(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.began) >= time.Second {
		t.began = now
		clear(t.taken)
	}
	t.taken[name]++
	return t.taken[name] <= t.most
}
