package operator

import (
	"context"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// RevokeNode shuts a data plane out, or lets it come back, and returns the change's id.
func RevokeNode(ctx context.Context, c adminv1.AdminServiceClient, node string, readmit bool, message string) (change string, err error) {
	res, err := c.RevokeNode(ctx, &adminv1.RevokeNodeRequest{Node: node, Readmit: readmit, Message: message})
	if err != nil {
		return "", Explain(err)
	}
	return res.GetChange(), nil
}
