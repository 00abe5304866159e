package api

import (
	"context"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func (s *service) GetIngress(_ context.Context, r *adminv1.GetRequest) (*configv1.Ingress, error) {
	return get[*configv1.Ingress](s, r)
}

func (s *service) ListIngresses(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListIngressesResponse, error) {
	items, next, err := list[*configv1.Ingress](s, r)
	return &adminv1.ListIngressesResponse{Ingresses: items, NextPageToken: next}, err
}

func (s *service) PutIngress(ctx context.Context, r *adminv1.PutIngressRequest) (*configv1.Ingress, error) {
	return put(ctx, s, r, r.GetIngress())
}

func (s *service) UpdateIngress(ctx context.Context, r *adminv1.UpdateIngressRequest) (*configv1.Ingress, error) {
	return update(ctx, s, r, r.GetIngress())
}

func (s *service) DeleteIngress(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Ingress](ctx, s, r)
}

func (s *service) GetTeam(_ context.Context, r *adminv1.GetRequest) (*configv1.Team, error) {
	return get[*configv1.Team](s, r)
}

func (s *service) ListTeams(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListTeamsResponse, error) {
	items, next, err := list[*configv1.Team](s, r)
	return &adminv1.ListTeamsResponse{Teams: items, NextPageToken: next}, err
}

func (s *service) PutTeam(ctx context.Context, r *adminv1.PutTeamRequest) (*configv1.Team, error) {
	return put(ctx, s, r, r.GetTeam())
}

func (s *service) UpdateTeam(ctx context.Context, r *adminv1.UpdateTeamRequest) (*configv1.Team, error) {
	return update(ctx, s, r, r.GetTeam())
}

func (s *service) DeleteTeam(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Team](ctx, s, r)
}

func (s *service) GetIdentityProvider(_ context.Context, r *adminv1.GetRequest) (*configv1.IdentityProvider, error) {
	return get[*configv1.IdentityProvider](s, r)
}

func (s *service) ListIdentityProviders(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListIdentityProvidersResponse, error) {
	items, next, err := list[*configv1.IdentityProvider](s, r)
	return &adminv1.ListIdentityProvidersResponse{Identityproviders: items, NextPageToken: next}, err
}

func (s *service) PutIdentityProvider(ctx context.Context, r *adminv1.PutIdentityProviderRequest) (*configv1.IdentityProvider, error) {
	return put(ctx, s, r, r.GetIdentityprovider())
}

func (s *service) UpdateIdentityProvider(ctx context.Context, r *adminv1.UpdateIdentityProviderRequest) (*configv1.IdentityProvider, error) {
	return update(ctx, s, r, r.GetIdentityprovider())
}

func (s *service) DeleteIdentityProvider(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.IdentityProvider](ctx, s, r)
}

func (s *service) GetSecret(_ context.Context, r *adminv1.GetRequest) (*configv1.Secret, error) {
	return get[*configv1.Secret](s, r)
}

func (s *service) ListSecrets(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListSecretsResponse, error) {
	items, next, err := list[*configv1.Secret](s, r)
	return &adminv1.ListSecretsResponse{Secrets: items, NextPageToken: next}, err
}

func (s *service) PutSecret(ctx context.Context, r *adminv1.PutSecretRequest) (*configv1.Secret, error) {
	return put(ctx, s, r, r.GetSecret())
}

func (s *service) UpdateSecret(ctx context.Context, r *adminv1.UpdateSecretRequest) (*configv1.Secret, error) {
	return update(ctx, s, r, r.GetSecret())
}

func (s *service) DeleteSecret(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Secret](ctx, s, r)
}

func (s *service) GetToolset(_ context.Context, r *adminv1.GetRequest) (*configv1.Toolset, error) {
	return get[*configv1.Toolset](s, r)
}

func (s *service) ListToolsets(_ context.Context, r *adminv1.ListRequest) (*adminv1.ListToolsetsResponse, error) {
	items, next, err := list[*configv1.Toolset](s, r)
	return &adminv1.ListToolsetsResponse{Toolsets: items, NextPageToken: next}, err
}

func (s *service) PutToolset(ctx context.Context, r *adminv1.PutToolsetRequest) (*configv1.Toolset, error) {
	return put(ctx, s, r, r.GetToolset())
}

func (s *service) UpdateToolset(ctx context.Context, r *adminv1.UpdateToolsetRequest) (*configv1.Toolset, error) {
	return update(ctx, s, r, r.GetToolset())
}

func (s *service) DeleteToolset(ctx context.Context, r *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	return remove[*configv1.Toolset](ctx, s, r)
}
