package relay

import (
	"context"

	"github.com/hopgate/hopgate/controlplane/store"
)

// Meet waits for ctx: a relay has nothing to lead.
func (s *Store) Meet(ctx context.Context, _ store.Meeting) error {
	<-ctx.Done()
	return ctx.Err()
}
