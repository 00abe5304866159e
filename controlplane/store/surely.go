package store

import (
	"context"
	"errors"
)

// surelyTries is how often an unknown outcome is asked for again.
const surelyTries = 5

// CommitSurely commits, and again while the outcome is unknown: a change that is stored already isn't stored twice. It returns Commit's errors, an
// *AmbiguousError only after the fifth.
func CommitSurely(ctx context.Context, s Store, w Write) (Result, error) {
	for try := 1; ; try++ {
		res, err := s.Commit(ctx, w)
		var ambiguous *AmbiguousError
		if !errors.As(err, &ambiguous) || try == surelyTries {
			return res, err
		}
	}
}
