package api

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const (
	// attemptsMost bounds how often a write that expects nothing in particular is tried again after a lost race.
	attemptsMost = 32
	// catchUpMost is how long an answer waits for the index to show what was written.
	catchUpMost = 2 * time.Second
)

// outcome is what became of an intent.
type outcome struct {
	// heads after it, one per edit; zero where the object is gone.
	heads []store.Head
	// record of it; its ID is empty when nothing was stored.
	record *store.ChangeRecord
	// turns are what would become of each object of the record, when nothing was stored.
	turns []turn
	// rollout of it, when nothing was stored; nil: it has none.
	rollout *adminv1.Rollout
}

// apply is the only way to the store: plan against what is stored now, check, commit under the condition that it is still so. A lost race
// is planned anew, which ends at a stale etag if one was given.
func (s *service) apply(ctx context.Context, in intent) (*outcome, error) {
	trailOf(ctx).aim(in.validateOnly, in.edits)
	var contested confset.Key
	for attempt := range attemptsMost {
		if out, err := s.replay(ctx, in); out != nil || err != nil {
			return out, err
		}
		p, err := s.plan(ctx, in)
		if err != nil {
			return nil, err
		}
		trailOf(ctx).aim(in.validateOnly, p.edits)
		s.catchUp(ctx, p.newest)
		if err := s.admit(ctx, p); err != nil {
			return nil, err
		}
		if p.idle() || in.validateOnly {
			return p.asIf(s.cfg.Index.Revision()), nil
		}
		contested = p.write.Expect[0].Key
		out, err := s.commit(ctx, p)
		if !raced(err) {
			return out, err
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
	return nil, busy(contested, attemptsMost)
}

// raced says that someone else was faster, with an object or with the same request id: what to answer shows when looking again.
func raced(err error) bool {
	var lost *store.ConflictError
	var repeat *store.DuplicateRequestError
	return errors.As(err, &lost) || errors.As(err, &repeat)
}

func (s *service) admit(ctx context.Context, p *plan) error {
	_, end := s.step(ctx, attr.SpanAdmit)
	err := s.cfg.Gate.Check(p.change)
	end(err)
	return err
}

func (s *service) commit(ctx context.Context, p *plan) (*outcome, error) {
	ctx, end := s.step(ctx, attr.SpanCommit)
	res, err := s.cfg.Store.Commit(ctx, p.write)
	end(err)
	if err != nil {
		return nil, err
	}
	trailOf(ctx).committed(p.write.Record.ID)
	s.catchUp(ctx, res.Revision)
	return p.done(res.Revision), nil
}

// catchUp lets the caller read its own write. A store that stays behind only makes that read older: the write is done.
func (s *service) catchUp(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, catchUpMost)
	defer cancel()
	if err := s.cfg.Index.WaitRevision(ctx, revision); err != nil {
		s.cfg.Log.WarnContext(ctx, "index is behind a commit", slog.Int64("revision", revision), slog.Any(attr.LogError, err))
	}
}

// pause spreads writers that lost the same race.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(rand.N(time.Duration(attempt+1) * time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
