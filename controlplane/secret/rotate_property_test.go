package secret_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// write is a commit of one head over a revision.
func write(h store.Head, over int64) store.Write {
	w := storetest.Put(h)
	w.Expect = []store.Precondition{{Key: h.Object.Key, Revision: over}}
	return w
}

// fleet is a few data planes, each of which serves some revision of the ring.
type fleet struct {
	serves []*configv1.SealingRing
	at     []int64
	sealed map[uint32]time.Time // when a key last sealed
}

func sealer(ring *configv1.SealingRing) uint32 {
	for _, k := range ring.Keys {
		if k.Sealing {
			return k.Id
		}
	}
	return 0
}

func holds(ring *configv1.SealingRing, id uint32) bool {
	for _, k := range ring.Keys {
		if k.Id == id {
			return true
		}
	}
	return false
}

// everyone is the question that a Rotator asks.
func (f *fleet) everyone(_ context.Context, revision int64) error {
	for i, at := range f.at {
		if at < revision {
			return fmt.Errorf("dp-%d is behind", i)
		}
	}
	return nil
}

// TestKeyStaysAsLongAsWhatItSealed lets two rotators and three data planes that lag by up to the grace live for a year, with forced rotations
// between, and with keys that seal for longer and shorter than things live.
func TestKeyStaysAsLongAsWhatItSealed(t *testing.T) {
	for _, every := range []time.Duration{30 * day, 5 * day, day} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(every, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { live(t, every, rand.New(rand.NewPCG(seed, uint64(every)))) })
			})
		}
	}
}

func live(t *testing.T, every time.Duration, random *rand.Rand) {
	const grace, life = 4 * time.Hour, 7 * day
	s, kek := memstore.New(), newKEK(t)
	f := &fleet{serves: make([]*configv1.SealingRing, 3), at: make([]int64, 3), sealed: map[uint32]time.Time{}}
	head := ensure(t, s, kek)
	for i := range f.serves {
		f.serves[i], f.at[i] = open(t, kek, head), head.Revision
	}
	var rotators []*secret.Rotator
	for range 2 {
		rotators = append(rotators, rotator(t, secret.Rotation{Store: s.Replica(), KEK: kek, Every: every, Life: life, Grace: grace, Everyone: f.everyone}))
	}
	changed, turns := time.Now(), 0
	for range 365 * 12 {
		time.Sleep(2 * time.Hour)
		r := rotators[random.IntN(2)]
		if random.IntN(12*40) == 0 {
			_, _ = r.Now(t.Context(), "ops", false) // refused when the ring is full
		}
		if random.IntN(10) == 0 {
			s.Ambiguous(random.IntN(2) == 0)
		}
		_, _ = r.Step(t.Context())
		now, err := s.Get(t.Context(), ringKey)
		if err != nil {
			t.Fatal(err)
		}
		if now.Revision != head.Revision {
			if sealer(open(t, kek, now)) != sealer(open(t, kek, head)) {
				turns++
			}
			head, changed = now, time.Now()
		}
		ring := open(t, kek, head)
		f.take(random, ring, head.Revision, time.Since(changed) >= grace)
		f.check(t, ring, life)
	}
	if turns < 11 {
		t.Errorf("%d rotations in a year", turns)
	}
}

// take lets some data planes take the ring, at least when they must, and each seal something.
func (f *fleet) take(random *rand.Rand, ring *configv1.SealingRing, revision int64, must bool) {
	for i := range f.serves {
		if must || random.IntN(2) == 0 {
			f.serves[i], f.at[i] = ring, revision
		}
		f.sealed[sealer(f.serves[i])] = time.Now()
	}
}

// check is the property: what was sealed within life opens with the stored ring, and what any data plane seals, every data plane opens.
func (f *fleet) check(t *testing.T, ring *configv1.SealingRing, life time.Duration) {
	t.Helper()
	if n := len(ring.Keys); n > secret.MaxRingKeys {
		t.Fatalf("%d keys", n)
	}
	for id, last := range f.sealed {
		if time.Since(last) < life && !holds(ring, id) {
			t.Fatalf("key %d is gone %s after it sealed", id, time.Since(last))
		}
	}
	for i := range f.serves {
		for j := range f.serves {
			if !holds(f.serves[j], sealer(f.serves[i])) {
				t.Fatal(errors.New("a data plane can't open what another one seals"))
			}
		}
	}
}
