package secret_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/proto"
)

const day = 24 * time.Hour

func everybody(context.Context, int64) error { return nil }

func rotator(t *testing.T, c secret.Rotation) *secret.Rotator {
	t.Helper()
	c.Name, c.Log = "session", slog.New(slog.DiscardHandler)
	if c.Everyone == nil {
		c.Everyone = everybody
	}
	r, err := secret.NewRotator(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t testing.TB, kek *secret.KEK, h store.Head) *configv1.SealingRing {
	t.Helper()
	obj, err := secret.OpenHead(kek)(h)
	if err != nil {
		t.Fatal(err)
	}
	ring := new(configv1.SealingRing)
	if err := proto.Unmarshal(obj.Body, ring); err != nil {
		t.Fatal(err)
	}
	return ring
}

// shape shows which keys of the ring seal, newest first: "oSo" is a pending one, the sealing one, an old one.
func shape(t *testing.T, s store.Store, kek *secret.KEK) (string, *configv1.SealingRing) {
	t.Helper()
	head, err := s.Get(t.Context(), ringKey)
	if err != nil {
		t.Fatal(err)
	}
	ring, out := open(t, kek, head), ""
	for _, k := range ring.Keys {
		out += map[bool]string{true: "S", false: "o"}[k.Sealing]
	}
	return out, ring
}

func wantShape(t *testing.T, s store.Store, kek *secret.KEK, want string) *configv1.SealingRing {
	t.Helper()
	got, ring := shape(t, s, kek)
	if got != want {
		t.Fatalf("ring is %s, want %s", got, want)
	}
	return ring
}

func step(t *testing.T, r *secret.Rotator, want string) {
	t.Helper()
	what, err := r.Step(t.Context())
	if err != nil || (want == "") != (what == "") || !strings.Contains(what, want) {
		t.Fatalf("step did %q, %v; want %q", what, err, want)
	}
}

// put stores a ring in place of what is there.
func put(t *testing.T, s store.Store, kek *secret.KEK, ring *configv1.SealingRing) {
	t.Helper()
	head, err := s.Get(t.Context(), ringKey)
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := kek.Seal(secret.AAD(ringKey, head.Object.UID), body)
	if err != nil {
		t.Fatal(err)
	}
	next := head
	next.Object, next.Generation = confset.NewObject(ringKey, head.Object.UID, sealed), head.Generation+1
	if _, err := s.Commit(t.Context(), write(next, head.Revision)); err != nil {
		t.Fatal(err)
	}
}

func TestKeyLivesThroughItsPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, kek := memstore.New(), newKEK(t)
		first := ensure(t, s, kek)
		old := open(t, kek, first).Keys[0]
		r := rotator(t, secret.Rotation{Store: s, KEK: kek})
		time.Sleep(30*day - time.Minute)
		step(t, r, "")
		time.Sleep(time.Minute)
		step(t, r, "added key")
		ring := wantShape(t, s, kek, "oS")
		if ring.Keys[1].Id != old.Id || ring.Keys[0].Id == old.Id || bytes.Equal(ring.Keys[0].Secret, old.Secret) {
			t.Fatal("the new key isn't new, or the old one isn't the one that seals")
		}
		time.Sleep(10*time.Minute - time.Second)
		step(t, r, "") // Grace
		time.Sleep(time.Second)
		step(t, r, "seals from now on")
		wantShape(t, s, kek, "So")
		time.Sleep(7*day + 10*time.Minute - time.Second)
		step(t, r, "")
		time.Sleep(time.Second)
		step(t, r, "dropped 1 key")
		if ring := wantShape(t, s, kek, "S"); ring.Keys[0].Id == old.Id {
			t.Fatal("the old key still seals")
		}
		step(t, r, "")
		wantRecords(t, s, first)
	})
}

// wantRecords checks that the three changes after the first are on record, as hopgate's, and that the object kept its identity.
func wantRecords(t *testing.T, s store.Store, first store.Head) {
	t.Helper()
	list, err := s.Changes(t.Context(), "", 10)
	if err != nil || len(list) != 4 {
		t.Fatalf("%d changes, %v", len(list), err)
	}
	before := first.Object.Hash.String()
	for i := 2; i >= 0; i-- {
		o := list[i].Objects[0]
		if list[i].Author != "hopgate" || !strings.Contains(list[i].Message, "sealing ring session") || o.Before != before || o.UID != first.Object.UID {
			t.Errorf("change %+v", list[i])
		}
		before = o.After
	}
	if now, _ := s.Get(t.Context(), ringKey); now.Generation != 4 || !now.Created.Equal(first.Created) || !now.Updated.After(first.Updated) {
		t.Errorf("head %+v", now)
	}
}

func TestLaggingDataPlaneBlocksTheSecondPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, kek := memstore.New(), newKEK(t)
		ensure(t, s, kek)
		var asked int64
		behind := errors.New("eu-7 is behind")
		r := rotator(t, secret.Rotation{Store: s, KEK: kek, Everyone: func(ctx context.Context, revision int64) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("asked without a deadline")
			}
			asked = revision
			return behind
		}})
		if what, err := r.Now(t.Context(), "ops", false); err != nil || what == "" {
			t.Fatal(what, err)
		}
		head, _ := s.Get(t.Context(), ringKey)
		time.Sleep(day)
		if _, err := r.Step(t.Context()); !errors.Is(err, behind) || asked != head.Revision {
			t.Fatalf("asked about %d, %v", asked, err)
		}
		wantShape(t, s, kek, "oS")
		behind = nil
		step(t, r, "seals from now on")
	})
}

func TestRunLogsEachErrorOnceAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, kek := memstore.New(), newKEK(t)
		ensure(t, s, kek)
		var lines bytes.Buffer
		ready := time.Now().Add(time.Hour)
		r, err := secret.NewRotator(secret.Rotation{Store: s, KEK: kek, Name: "session", Every: time.Minute, Log: slog.New(slog.NewTextHandler(&lines, nil)),
			Everyone: func(context.Context, int64) error {
				if time.Now().Before(ready) {
					return errors.New("eu-7 is behind")
				}
				return nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 62*time.Minute)
		defer cancel()
		if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if n := strings.Count(lines.String(), "eu-7 is behind"); n != 1 || !strings.Contains(lines.String(), "seals from now on") {
			t.Fatalf("%d times in\n%s", n, lines.String())
		}
	})
}

func TestReplicasRotateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, kek := memstore.New(), newKEK(t)
		ensure(t, s, kek)
		ctx, cancel := context.WithTimeout(t.Context(), 100*day)
		defer cancel()
		var group sync.WaitGroup
		for i := range 3 {
			r := rotator(t, secret.Rotation{Store: s.Replica(), KEK: kek, Now: func() time.Time { return time.Now().Add(time.Duration(i) * time.Minute) }})
			group.Go(func() { _ = r.Run(ctx) })
		}
		group.Wait()
		if list, err := s.Changes(t.Context(), "", 100); err != nil || len(list) != 1+3*3 {
			t.Errorf("%d changes in 100 days, want 10: %v", len(list), err)
		}
		wantShape(t, s, kek, "S")
	})
}

func TestStepsAtTheSameMomentAreOne(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	ensure(t, s, kek)
	later := time.Now().Add(31 * day)
	var group sync.WaitGroup
	for range 8 {
		r := rotator(t, secret.Rotation{Store: s.Replica(), KEK: kek, Now: func() time.Time { return later }})
		group.Go(func() {
			if _, err := r.Step(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wantShape(t, s, kek, "oS")
}

func TestUnknownOutcomeIsLookedUp(t *testing.T) {
	for _, applied := range []bool{true, false} {
		t.Run(fmt.Sprint(applied), func(t *testing.T) {
			s, kek := memstore.New(), newKEK(t)
			ensure(t, s, kek)
			now := time.Now()
			r := rotator(t, secret.Rotation{Store: s, KEK: kek, Now: func() time.Time { return now }})
			for i, want := range []string{"added key", "seals from now on", "dropped 1 key"} {
				now = now.Add(31 * day)
				if i == 2 {
					now = now.Add(-23 * day) // the third phase before the next key is due
				}
				s.Ambiguous(applied)
				s.Ambiguous(applied)
				step(t, r, want)
			}
			if list, _ := s.Changes(t.Context(), "", 10); len(list) != 4 {
				t.Fatalf("%d changes", len(list))
			}
		})
	}
}

func TestAnotherRotatorGoesOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, kek := memstore.New(), newKEK(t)
		ensure(t, s, kek)
		fresh := func() *secret.Rotator { return rotator(t, secret.Rotation{Store: s.Replica(), KEK: kek}) }
		if _, err := fresh().Now(t.Context(), "ops", true); err != nil {
			t.Fatal(err)
		}
		before := wantShape(t, s, kek, "oS")
		if what, err := fresh().Now(t.Context(), "ops", true); what != "" || err != nil {
			t.Fatalf("asked again it did %q, %v", what, err)
		}
		time.Sleep(11 * time.Minute)
		step(t, fresh(), "1 older dropped")
		if after := wantShape(t, s, kek, "S"); after.Keys[0].Id != before.Keys[0].Id {
			t.Fatal("another key seals")
		}
		step(t, fresh(), "")
	})
}

func TestDropReplacesAKeyThatHasNotSealed(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	ensure(t, s, kek)
	r := rotator(t, secret.Rotation{Store: s, KEK: kek, Grace: -1})
	for _, drop := range []bool{false, false, true} {
		if _, err := r.Now(t.Context(), "ops", drop); err != nil {
			t.Fatal(err)
		}
		if !drop {
			defer func(id uint32) {
				if ring := wantShape(t, s, kek, "S"); ring.Keys[0].Id == id {
					t.Error("the key that may have leaked seals")
				}
			}(wantShape(t, s, kek, "oS").Keys[0].Id)
		}
	}
	step(t, r, "1 older dropped")
}

func TestRingNeverHoldsMoreThanItsMost(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	ensure(t, s, kek)
	now := time.Now()
	r := rotator(t, secret.Rotation{Store: s, KEK: kek, Grace: -1, Now: func() time.Time { return now }})
	for range secret.MaxRingKeys - 1 {
		if what, err := r.Now(t.Context(), "ops", false); err != nil || what == "" {
			t.Fatal(what, err)
		}
		step(t, r, "seals from now on")
	}
	wantShape(t, s, kek, "Sooooooo")
	if _, err := r.Now(t.Context(), "ops", false); !errors.Is(err, secret.ErrFull) || !strings.Contains(err.Error(), "8 keys") {
		t.Fatalf("a ninth key: %v", err)
	}
	if _, err := r.Now(t.Context(), "ops", true); err != nil { // a leak has no time to wait
		t.Fatal(err)
	}
	wantShape(t, s, kek, "oSoooooo")
	step(t, r, "7 older dropped")
	wantShape(t, s, kek, "S")
}

func TestOddRingIsLeftAlone(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	_, good := ensure(t, s, kek), wantShape(t, s, kek, "S").Keys[0]
	second := proto.CloneOf(good)
	second.Id++
	quiet := proto.CloneOf(good)
	quiet.Sealing = false
	short := proto.CloneOf(second)
	short.Secret = short.Secret[:8]
	for name, keys := range map[string][]*configv1.SealingKey{"no key seals": {quiet}, "more than one": {good, second}, "twice": {good, quiet}, "bytes long": {good, short}} {
		put(t, s, kek, &configv1.SealingRing{Name: "session", Keys: keys})
		was, _ := s.Get(t.Context(), ringKey)
		r := rotator(t, secret.Rotation{Store: s, KEK: kek})
		_, err := r.Step(t.Context())
		_, now := r.Now(t.Context(), "ops", true)
		if !errors.Is(err, secret.ErrDamaged) || !errors.Is(now, secret.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, err, now)
		}
		if is, _ := s.Get(t.Context(), ringKey); is.Revision != was.Revision {
			t.Errorf("%s: the ring was changed", name)
		}
	}
	if _, err := rotator(t, secret.Rotation{Store: s, KEK: newKEK(t)}).Now(t.Context(), "ops", true); !errors.Is(err, secret.ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
}

func TestRotationSaysWhatIsMissing(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	for field, c := range map[string]secret.Rotation{
		"Store": {}, "KEK": {Store: s}, "Name": {Store: s, KEK: kek}, "Everyone": {Store: s, KEK: kek, Name: "session"},
		"Every": {Store: s, KEK: kek, Name: "session", Everyone: everybody, Every: -1},
	} {
		if _, err := secret.NewRotator(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestRotationInAnEmbeddedStore(t *testing.T) {
	s, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	kek := newKEK(t)
	ensure(t, s, kek)
	now := time.Now()
	r := rotator(t, secret.Rotation{Store: s, KEK: kek, Now: func() time.Time { return now }})
	for _, phase := range []string{"added key", "seals from now on", "dropped 1 key"} {
		now = now.Add(map[string]time.Duration{"added key": 30 * day, "seals from now on": time.Hour, "dropped 1 key": 8 * day}[phase])
		step(t, r, phase)
	}
	wantShape(t, s, kek, "S")
}
