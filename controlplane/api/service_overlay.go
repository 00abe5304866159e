package api

import (
	"context"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func (s *service) GetOverlay(_ context.Context, r *adminv1.GetRequest) (*configv1.Overlay, error) {
	return get[*configv1.Overlay](s, r)
}

func (s *service) ListOverlays(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListOverlaysResponse, error) {
	items, next, err := list[*configv1.Overlay](s, r)
	return &adminv1.ListOverlaysResponse{Overlays: items, NextPageToken: next}, err
}

func (s *service) PutOverlay(ctx context.Context, r *adminv1.PutOverlayRequest) (*configv1.Overlay, error) {
	return put(ctx, s, r, r.GetOverlay())
}

func (s *service) UpdateOverlay(ctx context.Context, r *adminv1.UpdateOverlayRequest) (*configv1.Overlay, error) {
	return update(ctx, s, r, r.GetOverlay())
}

func (s *service) DeleteOverlay(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Overlay](ctx, s, r)
}
