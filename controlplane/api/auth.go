package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Roles of callers.
const (
	roleAdmin  = "admin"
	roleViewer = "viewer"
)

// caller is who makes a call.
type caller struct{ name, role string }

// master is the record name of the master key's holder.
const master = "master"

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// reads are the methods a viewer may call. What isn't listed writes, so that a forgotten method is denied, not allowed.
var reads = []string{
	adminv1.AdminService_GetServer_FullMethodName, adminv1.AdminService_ListServers_FullMethodName,
	adminv1.AdminService_GetApiKey_FullMethodName, adminv1.AdminService_ListApiKeys_FullMethodName,
	adminv1.AdminService_GetSettings_FullMethodName, adminv1.AdminService_ListSettings_FullMethodName,
	adminv1.AdminService_GetIngress_FullMethodName, adminv1.AdminService_ListIngresses_FullMethodName,
	adminv1.AdminService_GetTeam_FullMethodName, adminv1.AdminService_ListTeams_FullMethodName,
	adminv1.AdminService_GetIdentityProvider_FullMethodName, adminv1.AdminService_ListIdentityProviders_FullMethodName,
	adminv1.AdminService_GetSecret_FullMethodName, adminv1.AdminService_ListSecrets_FullMethodName,
	adminv1.AdminService_GetToolset_FullMethodName, adminv1.AdminService_ListToolsets_FullMethodName,
	adminv1.AdminService_GetChange_FullMethodName, adminv1.AdminService_ListChanges_FullMethodName, adminv1.AdminService_DiffChanges_FullMethodName,
	adminv1.AdminService_GetOverlay_FullMethodName, adminv1.AdminService_ListOverlays_FullMethodName, adminv1.AdminService_ExplainObject_FullMethodName,
	adminv1.AdminService_ListJoinTokens_FullMethodName,
	adminv1.AdminService_GetRollout_FullMethodName, adminv1.AdminService_ListRollouts_FullMethodName,
	adminv1.AdminService_ListNodes_FullMethodName, adminv1.AdminService_GetInfo_FullMethodName, adminv1.AdminService_WatchEvents_FullMethodName,
}

func readOnly(method string) bool { return slices.Contains(reads, method) }

// Names of the two credential headers, as gRPC metadata and HTTP/2 spell them.
const (
	authorizationKey = "authorization"
	apiKeyKey        = "x-hopgate-api-key"
)

// headers gives all values of a header, by its lower-case name.
type headers func(name string) []string

// identify says who holds the credential of a call. Every refusal of a key reads alike, so that nothing can be learned from it.
func (g *guard) identify(h headers) (caller, error) {
	secret, err := credential(h)
	if err != nil {
		return caller{}, err
	}
	sum := sha256.Sum256([]byte(secret))
	if g.cfg.MasterKey != [32]byte{} && subtle.ConstantTimeCompare(sum[:], g.cfg.MasterKey[:]) == 1 {
		return caller{name: master, role: roleAdmin}, nil
	}
	k, ok := g.cfg.Keys(sum)
	if !ok || !k.Expires.IsZero() && !g.cfg.Now().Before(k.Expires) {
		return caller{}, unauthenticated("the key is unknown, revoked or expired")
	}
	who := caller{name: k.Name}
	switch {
	case slices.Contains(k.Roles, roleAdmin):
		who.role = roleAdmin
	case slices.Contains(k.Roles, roleViewer):
		who.role = roleViewer
	}
	return who, nil
}

// allow says whether a caller may call a method.
func allow(who caller, method string) error {
	switch {
	case who.role == roleAdmin, who.role == roleViewer && readOnly(method):
		return nil
	case who.role == roleViewer:
		return status.Errorf(codes.PermissionDenied, "the key %q has the role viewer and may only read; writing needs the role admin", who.name)
	}
	return status.Errorf(codes.PermissionDenied, "the key %q has neither the role admin nor viewer", who.name)
}

func unauthenticated(msg string) error { return status.Error(codes.Unauthenticated, msg) }

// credential takes the one key out of a call's headers.
func credential(h headers) (string, error) {
	var found []string
	for _, v := range h(apiKeyKey) {
		if _, bare, ok := bearer(v); ok {
			v = bare
		}
		found = append(found, strings.TrimSpace(v))
	}
	for _, v := range h(authorizationKey) {
		scheme, key, ok := bearer(v)
		if !ok {
			return "", unauthenticated("the Authorization header has the scheme " + scheme + "; send: Authorization: Bearer KEY")
		}
		found = append(found, key)
	}
	found = slices.Compact(found)
	switch {
	case len(found) == 0 || found[0] == "":
		return "", unauthenticated("no key was sent; send the master key or an API key with the role admin or viewer as: Authorization: Bearer KEY")
	case len(found) > 1:
		return "", unauthenticated("two different keys were sent; send one")
	}
	return found[0], nil
}

// bearer splits "Bearer KEY". For anything else it returns the scheme if that is a known word, never a part of what may be a secret.
func bearer(v string) (scheme, key string, ok bool) {
	scheme, key, _ = strings.Cut(strings.TrimSpace(v), " ")
	key = strings.TrimSpace(key)
	switch {
	case strings.EqualFold(scheme, "Bearer") && key != "":
		return scheme, key, true
	case strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Digest"):
		return scheme, "", false
	}
	return "(none)", "", false
}
