package operator

import (
	"context"
	"fmt"
	"io"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/redact"
)

// NewJoinToken is a join token to be made.
type NewJoinToken struct {
	Region, Group, Node string
	// TTL is how long it is good for; 0: as the control plane has it.
	TTL     time.Duration
	Uses    int32
	Relay   bool
	Message string
}

// Create makes the token and returns it with what it is good for.
func (n *NewJoinToken) Create(ctx context.Context, c adminv1.AdminServiceClient) (redact.Secret, *adminv1.JoinToken, error) {
	r := &adminv1.CreateJoinTokenRequest{Region: n.Region, Group: n.Group, Node: n.Node, Uses: n.Uses, Relay: n.Relay, Message: n.Message}
	if n.TTL != 0 {
		r.Ttl = n.TTL.String()
	}
	res, err := c.CreateJoinToken(ctx, r)
	if err != nil {
		return redact.Secret{}, nil, Explain(err)
	}
	return redact.NewSecret(res.GetToken()), res.GetInfo(), nil
}

// Usage is how a data plane joins with a token.
func Usage(t *adminv1.JoinToken) string {
	node := t.GetNode()
	if node == "" {
		node = "NAME"
	}
	if t.GetRelay() {
		return fmt.Sprintf("hopgate control --upstream HOST:4002 --sync-identity auto --node %s --data-dir DIR --join-file FILE", node)
	}
	return fmt.Sprintf("HOPGATE_JOIN=TOKEN hopgate proxy --control HOST:4002 --node %s --state-dir DIR", node)
}

// JoinTokens are the tokens that haven't ended, by id.
func JoinTokens(ctx context.Context, c adminv1.AdminServiceClient) ([]*adminv1.JoinToken, error) {
	res, err := c.ListJoinTokens(ctx, &adminv1.ListRequest{})
	return res.GetTokens(), Explain(err)
}

// PrintJoinTokens writes tokens in the format, the table with a row for each.
func PrintJoinTokens(w io.Writer, format string, tokens []*adminv1.JoinToken) error {
	if format != Table {
		return Print(w, format, "", messages(tokens))
	}
	rows := make([]string, len(tokens))
	for i, t := range tokens {
		rows[i] = cells(t.GetId(), t.GetRegion(), or(t.GetGroup(), "-"), or(t.GetNode(), "-"), fmt.Sprintf("%d of %d", t.GetUsed(), t.GetUses()), clock(t.GetExpireTime()))
	}
	return printRows(w, "ID\tREGION\tGROUP\tNODE\tUSED\tENDS", rows)
}

// DeleteJoinToken makes a token worthless and returns the change's id.
func DeleteJoinToken(ctx context.Context, c adminv1.AdminServiceClient, id, message string) (change string, err error) {
	res, err := c.DeleteJoinToken(ctx, &adminv1.DeleteJoinTokenRequest{Id: id, Message: message})
	if err != nil {
		return "", Explain(err)
	}
	return res.GetChange(), nil
}
