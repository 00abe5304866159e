package operator

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Kinds that commands name themselves.
const (
	Key    = "apikey"
	Change = "change"
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
	get, list, head := readers(c, kind)
	if name != "" {
		m, err := get(ctx, name)
		if err != nil {
			return "", nil, Explain(err)
		}
		return head, []proto.Message{m}, nil
	}
	for token := ""; ; {
		page, next, err := list(ctx, token)
		if err != nil {
			return "", nil, Explain(err)
		}
		rows = append(rows, page...)
		if token = next; token == "" {
			return head, rows, nil
		}
	}
}

type (
	getter func(ctx context.Context, name string) (proto.Message, error)
	lister func(ctx context.Context, token string) ([]proto.Message, string, error)
)

func readers(c adminv1.AdminServiceClient, kind string) (getter, lister, string) {
	switch kind {
	case "server":
		return func(ctx context.Context, n string) (proto.Message, error) {
				return c.GetServer(ctx, &adminv1.GetRequest{Name: n})
			}, func(ctx context.Context, t string) ([]proto.Message, string, error) {
				r, err := c.ListServers(ctx, page(t))
				return messages(r.GetServers()), r.GetNextPageToken(), err
			}, ServerHead
	case Key:
		return func(ctx context.Context, n string) (proto.Message, error) {
				return c.GetApiKey(ctx, &adminv1.GetRequest{Name: n})
			}, func(ctx context.Context, t string) ([]proto.Message, string, error) {
				r, err := c.ListApiKeys(ctx, page(t))
				return messages(r.GetApikeys()), r.GetNextPageToken(), err
			}, ApiKeyHead
	case Change:
		return func(ctx context.Context, n string) (proto.Message, error) {
				return c.GetChange(ctx, &adminv1.GetChangeRequest{Id: n})
			}, func(ctx context.Context, t string) ([]proto.Message, string, error) {
				r, err := c.ListChanges(ctx, page(t))
				return messages(r.GetChanges()), r.GetNextPageToken(), err
			}, ChangeHead
	}
	return func(ctx context.Context, n string) (proto.Message, error) {
			return c.GetSettings(ctx, &adminv1.GetRequest{Name: n})
		}, func(ctx context.Context, t string) ([]proto.Message, string, error) {
			r, err := c.ListSettings(ctx, page(t))
			return messages(r.GetSettings()), r.GetNextPageToken(), err
		}, SettingsHead
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
