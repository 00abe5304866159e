package secret

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/proto"
)

// ringState is an opened ring. Its keys stand newest first: one that is yet to seal, if any, the one that seals, and those that did.
//
// When a key stopped sealing isn't written down, but a next key is made only after that: a key stopped no later than the second one after it
// was made, and without such a one, than the ring was changed last. A key without a create time is condemned: it goes as soon as it
// doesn't seal.
type ringState struct {
	head store.Head
	ring *configv1.SealingRing
	at   int // index of the key that seals: 0 or 1
}

func readRing(ctx context.Context, s store.Store, kek *KEK, key confset.Key) (*ringState, error) {
	head, err := s.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	obj, err := openRing(kek, head)
	if err != nil {
		return nil, err
	}
	r := &ringState{head: head, ring: new(configv1.SealingRing), at: -1}
	if err := proto.Unmarshal(obj.Body, r.ring); err != nil {
		return nil, fmt.Errorf("%s: %w: not a sealing ring", key, ErrDamaged)
	}
	return r, r.check()
}

// check refuses a ring that a Rotator wouldn't have left like this.
func (r *ringState) check() error {
	seen := map[uint32]bool{}
	for i, k := range r.ring.GetKeys() {
		switch {
		case seen[k.GetId()]:
			return r.damaged("key id %d is there twice", k.GetId())
		case len(k.GetSecret()) != keyBytes:
			return r.damaged("key %d is not %d bytes long", k.GetId(), keyBytes)
		case k.GetSealing() && r.at >= 0:
			return r.damaged("more than one key seals")
		case k.GetSealing():
			r.at = i
		}
		seen[k.GetId()] = true
	}
	switch {
	case r.at < 0:
		return r.damaged("no key seals")
	case r.at > 1:
		return r.damaged("%d keys stand before the one that seals, at most one may", r.at)
	case r.at == 1 && r.ring.Keys[0].GetCreateTime() == nil:
		return r.damaged("the key that is yet to seal has no create time")
	case len(seen) > MaxRingKeys:
		return r.damaged("it holds %d keys, at most %d are possible", len(seen), MaxRingKeys)
	}
	return nil
}

func (r *ringState) damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s; it is left as it is", r.head.Object.Key, ErrDamaged, fmt.Sprintf(format, args...))
}

// later keeps the times in a ring from going backwards when replicas' clocks differ.
func (r *ringState) later(now time.Time) time.Time {
	if now.Before(r.head.Updated) {
		return r.head.Updated
	}
	return now
}

func (r *ringState) sealing() *configv1.SealingKey { return r.ring.Keys[r.at] }

// pending returns the key that is yet to seal, or nil.
func (r *ringState) pending() *configv1.SealingKey {
	if r.at == 0 {
		return nil
	}
	return r.ring.Keys[0]
}

// add is the first phase.
func (r *ringState) add(now time.Time) (string, error) {
	if n := len(r.ring.Keys); n >= MaxRingKeys {
		return "", fmt.Errorf("%s: it holds %d keys; %w", r.head.Object.Key, n, ErrFull)
	}
	k := newRing(r.ring.GetName(), now).Keys[0]
	for slices.ContainsFunc(r.ring.Keys, func(o *configv1.SealingKey) bool { return o.GetId() == k.GetId() }) {
		k.Id = max(1, k.GetId()+1)
	}
	k.Sealing = false
	r.ring.Keys = slices.Insert(r.ring.Keys, 0, k)
	r.at++
	return fmt.Sprintf("added key %d to the sealing ring %s; it seals when every data plane has it", k.GetId(), r.ring.GetName()), nil
}

// turn is the second phase: the pending key seals from now on. Condemned ones go.
func (r *ringState) turn() string {
	r.sealing().Sealing = false
	r.at = 0
	r.sealing().Sealing = true
	what := fmt.Sprintf("key %d of the sealing ring %s seals from now on", r.sealing().GetId(), r.ring.GetName())
	before := len(r.ring.Keys)
	r.ring.Keys = slices.DeleteFunc(r.ring.Keys, func(k *configv1.SealingKey) bool { return k.GetCreateTime() == nil })
	if n := before - len(r.ring.Keys); n > 0 {
		what += fmt.Sprintf("; %d older dropped, and what they sealed has ended", n)
	}
	return what
}

// drop is the third phase: keys go that stopped sealing longer ago than after.
func (r *ringState) drop(now time.Time, after time.Duration) string {
	keep := r.at + 1
	for keep < len(r.ring.Keys) && (r.at == 1 || r.ring.Keys[keep].GetCreateTime() != nil) && now.Before(r.stopped(keep).Add(after)) {
		keep++
	}
	gone := len(r.ring.Keys) - keep
	if gone == 0 {
		return ""
	}
	r.ring.Keys = r.ring.Keys[:keep]
	return fmt.Sprintf("dropped %d keys of the sealing ring %s: all that they sealed has ended", gone, r.ring.GetName())
}

// stopped returns when key i had stopped sealing at the latest.
func (r *ringState) stopped(i int) time.Time {
	if i >= 2 && r.ring.Keys[i-2].GetCreateTime() != nil {
		return r.ring.Keys[i-2].GetCreateTime().AsTime()
	}
	return r.head.Updated
}

// condemn marks every key that has sealed, forgets one that hasn't, and makes room for another.
func (r *ringState) condemn() {
	r.ring.Keys = r.ring.Keys[r.at:]
	r.at = 0
	r.ring.Keys = r.ring.Keys[:min(len(r.ring.Keys), MaxRingKeys-1)]
	for _, k := range r.ring.Keys {
		k.CreateTime = nil
	}
}

// condemned reports whether every key that has sealed is.
func (r *ringState) condemned() bool {
	return !slices.ContainsFunc(r.ring.Keys[r.at:], func(k *configv1.SealingKey) bool { return k.GetCreateTime() != nil })
}

// write seals the ring and makes one conditional change of it.
func (r *ringState) write(kek *KEK, now time.Time, author, message string) (store.Write, error) {
	if err := (&ringState{head: r.head, ring: r.ring, at: -1}).check(); err != nil {
		return store.Write{}, err
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.ring)
	if err != nil {
		return store.Write{}, err
	}
	key, uid := r.head.Object.Key, r.head.Object.UID
	sealed, err := kek.Seal(AAD(key, uid), body)
	if err != nil {
		return store.Write{}, err
	}
	next := r.head
	next.Object, next.Generation, next.Updated = confset.NewObject(key, uid, sealed), r.head.Generation+1, now
	changed := store.Changed{Kind: key.Kind, Name: key.Name, UID: uid, Before: r.head.Object.Hash.String(), After: next.Object.Hash.String(),
		SetBefore: r.head.Set, SetAfter: r.head.Set}
	return store.Write{
		Record: store.ChangeRecord{
			ID: store.NextID(now, r.head.Change), Time: now, Author: author, Message: message,
			Objects: []store.Changed{changed},
		},
		Expect: []store.Precondition{{Key: key, Revision: r.head.Revision}},
		Puts:   []store.Head{next},
	}, nil
}
