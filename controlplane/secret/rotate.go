package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// Defaults of a Rotation, and how a Rotator goes about it.
const (
	DefaultEvery = 30 * 24 * time.Hour
	DefaultLife  = 7 * 24 * time.Hour
	DefaultGrace = 10 * time.Minute

	// MaxRingKeys is the most keys a ring holds. A ring that is full takes a new one when its oldest is dropped.
	MaxRingKeys = 8

	everyoneWait = 30 * time.Second // bounds one call of Everyone
	lookEvery    = time.Minute
)

// myself is the author of phases that nobody asked for.
const myself = "hopgate"

// ErrFull says that a ring takes no new key yet.
var ErrFull = errors.New("a new one has to wait until what the oldest sealed has ended")

// Rotation says which ring is rotated, and how fast. Store, KEK, Name and Everyone are needed.
type Rotation struct {
	Store store.Store
	KEK   *KEK
	Name  string // of the ring: its purpose, such as "session"
	// Every is how long a key seals, from 0: DefaultEvery.
	Every time.Duration
	// Life is how long a sealed thing is good for at most; 0: DefaultLife. A key goes Life and Grace after it stopped sealing, or later.
	Life time.Duration
	// Everyone returns nil when every connected data plane serves what the store held at that revision, or an error that names who doesn't. It is
	// asked with a deadline of 30 s.
	Everyone func(ctx context.Context, revision int64) error
	// Grace is the least time between a key's arrival and its first use, for data planes that are away for a moment; 0: DefaultGrace, below
	// 0: none. It also is how far the clocks of replicas may be apart.
	Grace time.Duration
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: slog.Default
}

// Rotator gives a sealing ring new keys in two phases: a new key first only opens, and seals when every data plane can open what it will seal.
// A key that was replaced opens until everything sealed with it has ended, and is dropped then.
//
// It has no state but the ring, every phase is one conditional commit, and so replicas may each run one and end at any time. A ring always has
// exactly one key that seals. One that doesn't open, or isn't as a Rotator leaves it, is left alone with an error. A data plane that was cut
// off for longer than a phase may meet sessions it can't open, or lose those it sealed: their clients initialize again.
type Rotator struct {
	c   Rotation
	key confset.Key
}

// NewRotator checks the rotation and fills in what is left out. Errors name the field.
func NewRotator(c Rotation) (*Rotator, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("rotation: Store is needed")
	case c.KEK == nil:
		return nil, errors.New("rotation: KEK is needed")
	case c.Name == "":
		return nil, errors.New("rotation: Name is needed: the ring's purpose")
	case c.Everyone == nil:
		return nil, errors.New("rotation: Everyone is needed")
	case c.Every < 0 || c.Life < 0:
		return nil, errors.New("rotation: Every and Life can't be negative")
	}
	c.Every, c.Life = orDefault(c.Every, DefaultEvery), orDefault(c.Life, DefaultLife)
	c.Grace = max(0, orDefault(c.Grace, DefaultGrace))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Rotator{c: c, key: confset.Key{Kind: KindRing, Name: c.Name}}, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Run does what is due about once a minute until ctx ends, and returns its error. Nothing else ends it: errors are logged, each once until
// another outcome follows.
func (r *Rotator) Run(ctx context.Context) error {
	last := ""
	for {
		what, err := r.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			last = ""
			if what != "" {
				r.c.Log.InfoContext(ctx, "sealing ring", "ring", r.c.Name, "did", what)
			}
		case err.Error() != last:
			last = err.Error()
			r.c.Log.WarnContext(ctx, "sealing ring couldn't be rotated", "ring", r.c.Name, "error", err)
		}
		pause := time.NewTimer(lookEvery*3/4 + rand.N(lookEvery/2)) // replicas look at different times
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// Step does what is due, at most one phase, and says what it did; "" when nothing was. Errors are the store's, those of Everyone, and
// ErrWrongKey or ErrDamaged of a ring that doesn't open.
func (r *Rotator) Step(ctx context.Context) (what string, err error) {
	return r.change(ctx, myself, func(ring *ringState, now time.Time) (string, error) {
		if pending := ring.pending(); pending != nil {
			if now.Before(pending.GetCreateTime().AsTime().Add(r.c.Grace)) {
				return ring.drop(now, r.c.Life+r.c.Grace), nil
			}
			if err := r.everyone(ctx, ring.head.Revision); err != nil {
				return "", err
			}
			return ring.turn(), nil
		}
		if what := ring.drop(now, r.c.Life+r.c.Grace); what != "" {
			return what, nil
		}
		if s := ring.sealing(); s.GetCreateTime() != nil && now.Before(s.GetCreateTime().AsTime().Add(r.c.Every)) {
			return "", nil
		}
		return ring.add(now)
	})
}

// Now starts a rotation at once in the name of an author, whatever the age of the sealing key, and says what it did; "" when one is under way
// already. Run, of this replica or another, ends it when everybody has the new key and Grace has passed. Errors are the store's, ErrFull, and
// ErrWrongKey or ErrDamaged of a ring that doesn't open.
//
// With drop, for a ring that somebody else may have read, the keys of now are dropped the moment the new one seals: everything sealed with
// them ends. A key that hasn't sealed yet is replaced at once. This is kept in the ring and outlives the process.
func (r *Rotator) Now(ctx context.Context, author string, drop bool) (what string, err error) {
	return r.change(ctx, author, func(ring *ringState, now time.Time) (string, error) {
		switch {
		case ring.pending() != nil && (!drop || ring.condemned()):
			return "", nil
		case drop:
			ring.condemn()
		}
		return ring.add(now)
	})
}

// everyone asks whether all data planes have the ring.
func (r *Rotator) everyone(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, everyoneWait)
	defer cancel()
	if err := r.c.Everyone(ctx, revision); err != nil {
		return fmt.Errorf("%s: the new key waits for data planes that don't have it: %w", r.key, err)
	}
	return nil
}

// change reads the ring, lets plan change it, and commits that. When another replica was faster it looks again.
func (r *Rotator) change(ctx context.Context, author string, plan func(*ringState, time.Time) (string, error)) (string, error) {
	for try := 1; ; try++ {
		epoch := r.c.Store.Epoch()
		ring, err := readRing(ctx, r.c.Store, r.c.KEK, r.key)
		if err != nil {
			return "", err
		}
		now := ring.later(r.c.Now().UTC())
		what, err := plan(ring, now)
		if err != nil || what == "" {
			return "", err
		}
		w, err := ring.write(r.c.KEK, now, author, what)
		if err != nil {
			return "", err
		}
		w.Epoch = epoch
		_, err = store.CommitSurely(ctx, r.c.Store, w)
		if err == nil {
			return what, nil
		}
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || try == ringTries {
			return "", fmt.Errorf("%s: %w", r.key, err)
		}
	}
}
