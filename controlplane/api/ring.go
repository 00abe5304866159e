package api

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// RotateSealingRing starts a rotation in the caller's name. No key is told, and nothing of the ring but its name.
func (s *service) RotateSealingRing(ctx context.Context, r *adminv1.RotateSealingRingRequest) (*adminv1.RotateSealingRingResponse, error) {
	key := confset.Key{Kind: secret.KindRing, Name: r.GetName()}
	if key.Name == "" {
		key.Name = secret.SessionRing
	}
	trailOf(ctx).note([]confset.Key{key})
	if _, _, err := s.record(ctx, intent{}); err != nil { // a relay refuses here
		return nil, refusal(err)
	}
	switch {
	case key.Name != secret.SessionRing:
		return nil, missing(key, secret.SessionRing)
	case s.cfg.Rotate == nil:
		return nil, status.Error(codes.Unimplemented, "this control plane doesn't rotate sealing rings")
	}
	did, err := s.cfg.Rotate(ctx, callerOf(ctx).name, r.GetDrop())
	for _, state := range []error{secret.ErrFull, secret.ErrDamaged, secret.ErrWrongKey} {
		if errors.Is(err, state) {
			return nil, &causedError{status.New(codes.FailedPrecondition, "nothing was rotated: "+err.Error()), err}
		}
	}
	if err != nil {
		return nil, refusal(err)
	}
	return &adminv1.RotateSealingRingResponse{Did: did}, nil
}
