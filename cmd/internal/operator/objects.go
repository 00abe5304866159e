package operator

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Kinds that commands name themselves.
const (
	Key        = "apikey"
	Credential = "secret"
	Change     = "change"
)

// Target splits KIND/NAME or KIND NAME; the name may be empty.
func Target(args []string) (kind, name string, err error) {
	word := args[0]
	if k, n, ok := strings.Cut(word, "/"); ok {
		word, name = k, n
	}
	if len(args) > 1 {
		if name != "" {
			return "", "", fmt.Errorf("give the name once: %s/%s or %s %s", word, name, word, args[1])
		}
		name = args[1]
	}
	if word == "changes" || word == "change" {
		return Change, name, nil
	}
	kind, ok := rules.Canonical(word)
	if !ok {
		return "", "", fmt.Errorf("kind %q isn't known; kinds are %s and %s", word, strings.Join(rules.Kinds(), ", "), Change)
	}
	return kind, name, nil
}

// Get returns one object, or all of a kind when name is empty, with the head of their table.
func Get(ctx context.Context, c adminv1.AdminServiceClient, kind, name string) (head string, rows []proto.Message, err error) {
	r, ok := readers(c)[kind]
	if !ok {
		return "", nil, fmt.Errorf("objects of kind %s can't be read by this version", kind)
	}
	if name != "" {
		m, err := r.get(ctx, name)
		if err != nil {
			return "", nil, Explain(err)
		}
		return r.head, []proto.Message{m}, nil
	}
	for token := ""; ; {
		page, next, err := r.list(ctx, token)
		if err != nil {
			return "", nil, Explain(err)
		}
		rows = append(rows, page...)
		if token = next; token == "" {
			return r.head, rows, nil
		}
	}
}

// reader reads the objects of one kind.
type reader struct {
	head string
	get  func(ctx context.Context, name string) (proto.Message, error)
	list func(ctx context.Context, token string) ([]proto.Message, string, error)
}

func readers(c adminv1.AdminServiceClient) map[string]reader {
	return map[string]reader{
		"server":           of(ServerHead, c.GetServer, c.ListServers, (*adminv1.ListServersResponse).GetServers),
		Key:                of(ApiKeyHead, c.GetApiKey, c.ListApiKeys, (*adminv1.ListApiKeysResponse).GetApikeys),
		"team":             of(TeamHead, c.GetTeam, c.ListTeams, (*adminv1.ListTeamsResponse).GetTeams),
		"toolset":          of(ToolsetHead, c.GetToolset, c.ListToolsets, (*adminv1.ListToolsetsResponse).GetToolsets),
		"ingress":          of(IngressHead, c.GetIngress, c.ListIngresses, (*adminv1.ListIngressesResponse).GetIngresses),
		"identityprovider": of(ProviderHead, c.GetIdentityProvider, c.ListIdentityProviders, (*adminv1.ListIdentityProvidersResponse).GetIdentityproviders),
		Credential:         of(SecretHead, c.GetSecret, c.ListSecrets, (*adminv1.ListSecretsResponse).GetSecrets),
		"settings":         of(SettingsHead, c.GetSettings, c.ListSettings, (*adminv1.ListSettingsResponse).GetSettings),
		"overlay":          of(OverlayHead, c.GetOverlay, c.ListOverlays, (*adminv1.ListOverlaysResponse).GetOverlays),
		Change:             changeReader(c),
	}
}

// of makes the reader of a kind out of its three methods.
func of[M proto.Message, L interface{ GetNextPageToken() string }](head string,
	get func(context.Context, *adminv1.GetRequest, ...grpc.CallOption) (M, error),
	list func(context.Context, *adminv1.ListRequest, ...grpc.CallOption) (L, error), rows func(L) []M,
) reader {
	return reader{head, func(ctx context.Context, name string) (proto.Message, error) {
		return get(ctx, &adminv1.GetRequest{Name: name})
	}, func(ctx context.Context, token string) ([]proto.Message, string, error) {
		r, err := list(ctx, page(token))
		return messages(rows(r)), r.GetNextPageToken(), err
	}}
}

func changeReader(c adminv1.AdminServiceClient) reader {
	r := of(ChangeHead, nil, c.ListChanges, (*adminv1.ListChangesResponse).GetChanges)
	r.get = func(ctx context.Context, id string) (proto.Message, error) {
		return c.GetChange(ctx, &adminv1.GetChangeRequest{Id: id})
	}
	return r
}

func page(token string) *adminv1.ListRequest {
	return &adminv1.ListRequest{PageSize: 500, PageToken: token}
}

func messages[M proto.Message](in []M) []proto.Message {
	out := make([]proto.Message, len(in))
	for i, m := range in {
		out[i] = m
	}
	return out
}

// Deletion removes one object.
type Deletion struct {
	Kind, Name string
	// Message says why, for the change record.
	Message string
	// Owner is the file that owns the object; empty: nobody does.
	Owner string
}

// Run removes the object and returns the change's id.
func (d Deletion) Run(ctx context.Context, c adminv1.AdminServiceClient) (string, error) {
	req := &adminv1.CreateChangeRequest{Message: d.Message, Owner: d.Owner, Deletions: []*adminv1.ObjectName{{Kind: d.Kind, Name: d.Name}}}
	change, err := c.CreateChange(ctx, req)
	if err != nil {
		return "", Explain(err)
	}
	return change.GetId(), nil
}
