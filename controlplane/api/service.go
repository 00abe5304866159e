package api

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// service is the gRPC service: five thin calls per kind over one core.
type service struct {
	adminv1.UnimplementedAdminServiceServer
	cfg    Config
	ids    *ids
	open   func(store.Head) (confset.Object, error) // as it is pushed
	tracer trace.Tracer
	desk   *desk
}

func newService(cfg Config) *service {
	open := secret.OpenHead(cfg.KEK)
	if cfg.Opened {
		open = func(h store.Head) (confset.Object, error) { return h.Object, nil }
	}
	return &service{cfg: cfg, ids: newIDs(nil), open: open, tracer: cfg.Tracer.Tracer(tracerName), desk: newDesk(cfg)}
}

func (s *service) GetServer(_ context.Context, r *adminv1.GetRequest) (*configv1.Server, error) {
	return get[*configv1.Server](s, r)
}

func (s *service) ListServers(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListServersResponse, error) {
	items, next, err := list[*configv1.Server](s, r)
	return &adminv1.ListServersResponse{Servers: items, NextPageToken: next}, err
}

func (s *service) PutServer(ctx context.Context, r *adminv1.PutServerRequest) (*configv1.Server, error) {
	return put(ctx, s, r, r.GetServer())
}

func (s *service) UpdateServer(ctx context.Context, r *adminv1.UpdateServerRequest) (*configv1.Server, error) {
	return update(ctx, s, r, r.GetServer())
}

func (s *service) DeleteServer(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Server](ctx, s, r)
}

func (s *service) GetApiKey(_ context.Context, r *adminv1.GetRequest) (*configv1.ApiKey, error) {
	return get[*configv1.ApiKey](s, r)
}

func (s *service) ListApiKeys(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListApiKeysResponse, error) {
	items, next, err := list[*configv1.ApiKey](s, r)
	return &adminv1.ListApiKeysResponse{Apikeys: items, NextPageToken: next}, err
}

func (s *service) PutApiKey(ctx context.Context, r *adminv1.PutApiKeyRequest) (*configv1.ApiKey, error) {
	return put(ctx, s, r, r.GetApikey())
}

func (s *service) UpdateApiKey(ctx context.Context, r *adminv1.UpdateApiKeyRequest) (*configv1.ApiKey, error) {
	return update(ctx, s, r, r.GetApikey())
}

func (s *service) DeleteApiKey(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.ApiKey](ctx, s, r)
}

func (s *service) GetSettings(_ context.Context, r *adminv1.GetRequest) (*configv1.Settings, error) {
	return get[*configv1.Settings](s, r)
}

func (s *service) ListSettings(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListSettingsResponse, error) {
	items, next, err := list[*configv1.Settings](s, r)
	return &adminv1.ListSettingsResponse{Settings: items, NextPageToken: next}, err
}

func (s *service) PutSettings(ctx context.Context, r *adminv1.PutSettingsRequest) (*configv1.Settings, error) {
	return put(ctx, s, r, r.GetSettings())
}

func (s *service) UpdateSettings(ctx context.Context, r *adminv1.UpdateSettingsRequest) (*configv1.Settings, error) {
	return update(ctx, s, r, r.GetSettings())
}

func (s *service) DeleteSettings(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Settings](ctx, s, r)
}

func (s *service) GetInfo(ctx context.Context, _ *adminv1.GetInfoRequest) (*adminv1.Info, error) {
	who := callerOf(ctx)
	info := &adminv1.Info{
		Version: s.cfg.Version, Replica: s.cfg.Replica, Epoch: s.cfg.Store.Epoch(), Revision: s.cfg.Index.Revision(),
		Caller: who.name, Role: who.role,
	}
	s.cfg.condition(info)
	return info, nil
}
