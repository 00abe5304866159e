package api

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// StagedFleet is what a Fleet tells of a change that some data planes have. It is safe for concurrent use.
type StagedFleet interface {
	// StagedDelivery says how the data planes that are to have a staged change took its objects as of a revision.
	StagedDelivery(s *rollout.State, revision int64, objects []confset.Key) *adminv1.Delivery
}

// GetRollout returns how far a staged change is, with how each region stands.
func (s *service) GetRollout(ctx context.Context, r *adminv1.GetRolloutRequest) (*adminv1.Rollout, error) {
	if err := s.atHome(ctx); err != nil {
		return nil, err
	}
	h, ok := s.cfg.Index.Get(rollout.Kind, r.GetChange())
	if !ok {
		return nil, missing(rollout.Key(r.GetChange()), "")
	}
	out, err := s.progressOf(h)
	return out, refusal(err)
}

// atHome refuses in a relay, with its store's answer: rollouts never leave home, and that there are none here would be a lie.
func (s *service) atHome(ctx context.Context) error {
	if s.cfg.Home == nil {
		return nil
	}
	_, _, err := s.record(ctx, intent{})
	return refusal(err)
}

// progressOf is a stored rollout as callers see it, with what is known of it now.
func (s *service) progressOf(h store.Head) (*adminv1.Rollout, error) {
	st, err := rollout.Parse(h.Object.Body, h.Revision)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", h.Object.Key, err)
	}
	out := proto.CloneOf(st.Body)
	out.Etag, out.Regions = etagOf(h), nil
	if s.cfg.Live != nil {
		out.Regions = s.cfg.Live(st)
	}
	if s.cfg.Waits != nil && out.GetReason() == "" {
		out.Reason = s.cfg.Waits(st)
	}
	return out, nil
}

// ListRollouts pages through the staged changes, newest first.
func (s *service) ListRollouts(ctx context.Context, r *adminv1.ListRequest) (*adminv1.ListRolloutsResponse, error) {
	if err := s.atHome(ctx); err != nil {
		return nil, err
	}
	n, before, err := page(r, rollout.Kind)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListRolloutsResponse{}
	bytes := 0
	for _, h := range s.rollouts() {
		name := h.Object.Key.Name
		if before != "" && name >= before {
			continue
		}
		if bytes += len(h.Object.Body); len(out.Rollouts) == n || len(out.Rollouts) > 0 && bytes > pageBytes {
			out.NextPageToken = token{rollout.Kind, out.Rollouts[len(out.Rollouts)-1].GetChange()}.String()
			break
		}
		m, err := s.progressOf(h)
		if err != nil {
			return nil, refusal(err)
		}
		out.Rollouts = append(out.Rollouts, m)
	}
	return out, nil
}

// rollouts are all that the index has, newest first: their names are ids of changes.
func (s *service) rollouts() []store.Head {
	var all []store.Head
	for after := ""; ; {
		heads := s.cfg.Index.List(rollout.Kind, after, pageMost)
		all = append(all, heads...)
		if len(heads) < pageMost {
			slices.Reverse(all)
			return all
		}
		after = heads[len(heads)-1].Object.Key.Name
	}
}
