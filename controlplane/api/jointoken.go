package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
	"github.com/hopgate/hopgate/proto/rules"
)

const (
	tokenLife     = 10 * time.Minute
	tokenLifeMost = 8760 * time.Hour
	tokenUsesMost = 100_000
	// tokensMost bounds the tokens that are stored, and tokensSwept those that have ended and go with one that is made.
	tokensMost  = 1000
	tokensSwept = 50
)

// CreateJoinToken makes a token and tells it once; its hash is stored. Tokens that have ended go with it.
func (s *service) CreateJoinToken(ctx context.Context, r *adminv1.CreateJoinTokenRequest) (*adminv1.CreateJoinTokenResponse, error) {
	info, err := s.tokenOf(r)
	if err != nil {
		return nil, err
	}
	head, err := s.cfg.Store.Get(ctx, confset.Key{Kind: authority.KindAuthority, Name: authority.Name})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, status.Error(codes.FailedPrecondition, "no control plane of this fleet makes certificates; start them with --sync-identity auto, or give data planes certificate files")
	case err != nil:
		return nil, refusal(err)
	}
	pin, err := authority.Pin(head)
	if err != nil {
		return nil, refusal(err)
	}
	made := jointoken.New(pin)
	sum := made.Sum()
	info.Id, info.Sha256 = made.ID, sum[:]
	ended, err := s.endedTokens()
	if err != nil {
		return nil, err
	}
	t := turnover{key: confset.Key{Kind: authority.KindToken, Name: made.ID}, after: info}
	if _, err := s.turnOver(ctx, r.GetMessage(), append(ended, t)...); err != nil {
		return nil, err
	}
	return &adminv1.CreateJoinTokenResponse{Token: made.Reveal(), Info: openly(info)}, nil
}

// tokenOf checks what is asked for.
func (s *service) tokenOf(r *adminv1.CreateJoinTokenRequest) (*adminv1.JoinToken, error) {
	var bad admit.Violations
	add := func(field, problem, fix string) {
		bad = append(bad, admit.Violation{Field: field, Problem: problem, Fix: fix})
	}
	for _, place := range []struct{ field, name string }{{"region", r.GetRegion()}, {"group", r.GetGroup()}} {
		if vs := rules.Region(place.name); len(vs) > 0 && (place.name != "" || place.field == "region") {
			add(place.field, vs[0].Problem, vs[0].Fix)
		}
	}
	if r.GetNode() != "" && len(bad) == 0 && stream.CheckIdentity(stream.Identity{Node: r.GetNode(), Region: r.GetRegion()}) != nil {
		add("node", "is not a node name", nodeFix)
	}
	life, err := time.ParseDuration(r.GetTtl())
	if r.GetTtl() == "" {
		life, err = tokenLife, nil
	}
	if err != nil || life < time.Second || life > tokenLifeMost {
		add("ttl", "is no duration from 1s to 8760h", "write for example 10m or 24h")
	}
	if r.GetUses() < 0 || r.GetUses() > tokenUsesMost {
		add("uses", fmt.Sprintf("is %d", r.GetUses()), fmt.Sprintf("ask for 1 to %d, or 0 for one", tokenUsesMost))
	}
	if len(bad) > 0 {
		return nil, invalid(bad)
	}
	now := s.cfg.Now().UTC()
	return &adminv1.JoinToken{Region: r.GetRegion(), Group: r.GetGroup(), Node: r.GetNode(), Relay: r.GetRelay(), Uses: max(1, r.GetUses()),
		CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(life))}, nil
}

const nodeFix = "write 1 to 128 letters, digits, dots, hyphens or underscores, a letter or digit first"

// openly is a token as callers see it.
func openly(t *adminv1.JoinToken) *adminv1.JoinToken {
	out := proto.CloneOf(t)
	out.Sha256 = nil
	return out
}

// tokens are those in the index; the error says that there are too many for one more.
func (s *service) tokens() ([]store.Head, []*adminv1.JoinToken, error) {
	heads := s.cfg.Index.List(authority.KindToken, "", tokensMost)
	out := make([]*adminv1.JoinToken, len(heads))
	for i, h := range heads {
		out[i] = &adminv1.JoinToken{}
		if err := proto.Unmarshal(h.Object.Body, out[i]); err != nil {
			return nil, nil, refusal(fmt.Errorf("%s is stored with a body that doesn't decode: %w", h.Object.Key, err))
		}
	}
	return heads, out, nil
}

// good says whether somebody could still join with a token.
func (s *service) good(t *adminv1.JoinToken) bool {
	return s.cfg.Now().Before(t.GetExpireTime().AsTime())
}

// endedTokens are some that can go. Without room for one more, the error says so.
func (s *service) endedTokens() (out []turnover, err error) {
	heads, all, err := s.tokens()
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		if !s.good(t) && len(out) < min(tokensSwept, s.cfg.Store.Limits().Objects-1) {
			out = append(out, turnover{key: heads[i].Object.Key, before: &heads[i]})
		}
	}
	if len(all) >= tokensMost && len(out) == 0 {
		return nil, status.Errorf(codes.ResourceExhausted, "there are %d join tokens, the most that are possible; delete some: hopgate token delete ID", len(all))
	}
	return out, nil
}

// ListJoinTokens returns the tokens that haven't ended, used up ones too, without what is secret in them.
func (s *service) ListJoinTokens(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListJoinTokensResponse, error) {
	if r.GetPageToken() != "" || r.GetObject() != "" {
		return nil, invalidField("page_token", "is set, and this list has one page", "leave out page_token and object")
	}
	_, all, err := s.tokens()
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListJoinTokensResponse{}
	for _, t := range all {
		if s.good(t) {
			out.Tokens = append(out.Tokens, openly(t))
		}
	}
	return out, nil
}

// DeleteJoinToken makes a token worthless.
func (s *service) DeleteJoinToken(ctx context.Context, r *adminv1.DeleteJoinTokenRequest) (*adminv1.DeleteResponse, error) {
	key := confset.Key{Kind: authority.KindToken, Name: r.GetId()}
	if store.CheckKey(key) != nil {
		return nil, invalidField("id", "is no token's id", "take it from hopgate token list")
	}
	return s.again(ctx, key, func(head *store.Head) (string, error) {
		if head == nil {
			return "", missing(key, "")
		}
		return s.turnOver(ctx, r.GetMessage(), turnover{key: key, before: head})
	})
}
