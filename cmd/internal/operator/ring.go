package operator

import (
	"context"
	"fmt"
	"io"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// RotateRing starts a rotation of the ring of sessions and writes what was done.
func RotateRing(ctx context.Context, c adminv1.AdminServiceClient, drop bool, w io.Writer) error {
	r, err := c.RotateSealingRing(ctx, &adminv1.RotateSealingRingRequest{Drop: drop})
	if err != nil {
		return Explain(err)
	}
	_, err = fmt.Fprintln(w, clean(or(r.GetDid(), "a rotation is under way already; hopgate get changes shows its phases")))
	return err
}
