package secret

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// SessionRing is the purpose of the one ring that there is: it seals what data planes hand to clients of MCP.
const SessionRing = "session"

// KindRing is the kind of sealing rings, whose bodies are stored sealed.
const KindRing = "sealingring"

// ringTries is how often a lost race or an unknown outcome is looked at again.
const ringTries = 5

// EnsureRing makes the sealing ring of a purpose (such as "session"), with one new key, unless it is there. Replicas may race: one of them
// makes it. A ring that is there but doesn't open with kek is an error (ErrWrongKey, ErrDamaged) and is left alone: another ring would throw
// away every session of the fleet.
func EnsureRing(ctx context.Context, s store.Store, kek *KEK, purpose string) error {
	key := confset.Key{Kind: KindRing, Name: purpose}
	for try := 1; ; try++ {
		switch head, err := s.Get(ctx, key); {
		case err == nil:
			_, err := openRing(kek, head)
			return err
		case !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%s: %w", key, err)
		}
		err := makeRing(ctx, s, kek, key)
		if err == nil {
			return nil
		}
		var conflict *store.ConflictError
		var ambiguous *store.AmbiguousError
		if again := errors.As(err, &conflict) || errors.As(err, &ambiguous); !again || try == ringTries {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
}

func makeRing(ctx context.Context, s store.Store, kek *KEK, key confset.Key) error {
	now := time.Now().UTC()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(newRing(key.Name, now))
	if err != nil {
		return err
	}
	uid := ulid.Make().String()
	sealed, err := kek.Seal(AAD(key, uid), body)
	if err != nil {
		return err
	}
	obj := confset.NewObject(key, uid, sealed)
	_, err = s.Commit(ctx, store.Write{
		Record: store.ChangeRecord{
			ID: ulid.Make().String(), Time: now, Author: "hopgate", Message: "made the sealing ring " + key.Name,
			Objects: []store.Changed{{Kind: key.Kind, Name: key.Name, UID: uid, After: obj.Hash.String()}},
		},
		Expect: []store.Precondition{{Key: key}},
		Puts:   []store.Head{{Object: obj, Generation: 1, Created: now, Updated: now}},
	})
	return err
}

// newRing returns a ring with one key. Its id is random, so that the ring of a wiped store doesn't pass for the one before.
func newRing(name string, now time.Time) *configv1.SealingRing {
	random := make([]byte, 4+keyBytes)
	_, _ = rand.Read(random) // never fails
	return &configv1.SealingRing{Name: name, Keys: []*configv1.SealingKey{{
		Id: max(1, binary.BigEndian.Uint32(random)), Secret: random[4:], Sealing: true, CreateTime: timestamppb.New(now),
	}}}
}

// OpenHead returns the function that turns a stored head into the object to push: sealing rings and the values of secrets are opened, with
// the hash of the opened body; everything else passes as it is. Errors name the object and wrap ErrWrongKey or ErrDamaged.
func OpenHead(kek *KEK) func(store.Head) (confset.Object, error) {
	return func(h store.Head) (confset.Object, error) {
		switch h.Object.Key.Kind {
		case KindRing:
			return openRing(kek, h)
		case KindSecret:
			return openSecret(kek, h)
		}
		return h.Object, nil
	}
}

func openRing(kek *KEK, h store.Head) (confset.Object, error) {
	plain, err := kek.Open(AAD(h.Object.Key, h.Object.UID), h.Object.Body)
	if err != nil {
		return confset.Object{}, fmt.Errorf("%s: %w", h.Object.Key, err)
	}
	if err := proto.Unmarshal(plain, new(configv1.SealingRing)); err != nil {
		return confset.Object{}, fmt.Errorf("%s: %w: not a sealing ring", h.Object.Key, ErrDamaged)
	}
	return confset.NewObject(h.Object.Key, h.Object.UID, plain), nil
}
