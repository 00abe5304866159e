package etcdstore

import (
	"errors"
	"fmt"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unavailable tells what etcd's error means to a caller: everything that isn't ours to fix by another request is unavailability.
func (s *Store) unavailable(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.life.Err() != nil:
		return fmt.Errorf("%s: %w", doing, errClosed)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%s: %w: etcd is over its quota and takes no writes; compact, defragment and disarm the alarm, or raise the quota: %w", doing, store.ErrUnavailable, err)
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%s: %w: etcd takes fewer than %d operations in a transaction; lower --max-txn-ops here or raise it there: %w", doing, store.ErrUnavailable, s.backend.maxOps, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%s: %w: etcd takes requests smaller than %d bytes; raise its --max-request-bytes: %w", doing, store.ErrUnavailable, s.backend.requestBytes, err)
	}
	switch code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument:
		return fmt.Errorf("%s: %w: etcd refuses; check user, password and certificate: %w", doing, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, store.ErrUnavailable, err)
}

// refused reports that etcd said no before it proposed anything: the transaction wasn't and won't be applied.
func refused(err error) bool {
	switch code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated,
		codes.ResourceExhausted, codes.FailedPrecondition, codes.Unimplemented, codes.OutOfRange:
		return true
	}
	return false
}

func code(err error) codes.Code {
	var etcd rpctypes.EtcdError
	if errors.As(err, &etcd) {
		return etcd.Code()
	}
	return status.Code(err)
}
