package relay

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// update is a whole update, its parts put together.
type update struct {
	nonce uint64
	full  bool
	delta confset.Delta // relative to what is held, or to nothing when full

	to     version // without its set
	digest confset.Digest
}

// collector puts the parts of updates together, one update at a time.
type collector struct {
	most, size int     // bytes
	now        *update // nil between updates
}

// add takes in a part. It returns the update when the part was its last. An error means that the stream can't go on.
func (c *collector) add(part *syncv1.Update) (*update, error) {
	if c.now == nil {
		c.now, c.size = &update{nonce: part.GetNonce(), full: part.GetFull()}, 0
	}
	u := c.now
	if part.GetNonce() != u.nonce {
		return nil, fmt.Errorf("part of update %d in the middle of update %d", part.GetNonce(), u.nonce)
	}
	if c.size += proto.Size(part); c.size > c.most {
		return nil, fmt.Errorf("update of more than %d bytes", c.most)
	}
	if err := u.take(part); err != nil {
		return nil, err
	}
	if part.GetMore() {
		return nil, nil
	}
	c.now = nil
	return u, u.finish(part)
}

// take adds the objects of a part.
func (u *update) take(part *syncv1.Update) error {
	for _, r := range part.GetRemovals() {
		u.delta.Removals = append(u.delta.Removals, confset.Key{Kind: r.GetKind(), Name: r.GetName()})
	}
	for _, r := range part.GetUpserts() {
		o := confset.Object{Key: confset.Key{Kind: r.GetKind(), Name: r.GetName()}, UID: r.GetUid(), Body: r.GetBody()}
		if len(r.GetHash()) != len(o.Hash) {
			return fmt.Errorf("the hash of %s has %d bytes", o.Key, len(r.GetHash()))
		}
		if o.Hash = confset.Hash(r.GetHash()); !o.Intact() {
			return fmt.Errorf("the body of %s is not what its hash says", o.Key)
		}
		u.delta.Upserts = append(u.delta.Upserts, o)
	}
	return nil
}

// finish reads what only the last part has.
func (u *update) finish(last *syncv1.Update) error {
	if len(last.GetDigest()) != len(u.digest) {
		return errors.New("update without a digest")
	}
	u.digest = confset.Digest(last.GetDigest())
	u.to = version{epoch: last.GetEpoch(), revision: last.GetRevision(), traceparent: last.GetTraceparent()}
	if ids := last.GetChanges(); len(ids) > 0 {
		u.to.change = ids[len(ids)-1]
	}
	return nil
}

// over returns the version after the update. An error says that it isn't what its digest says.
func (u *update) over(held *confset.Set) (*version, error) {
	v := u.to
	v.set = held.Apply(u.delta)
	if u.full {
		var err error
		if v.set, err = confset.New(u.delta.Upserts); err != nil {
			return nil, err
		}
	}
	if v.set.Digest() != u.digest {
		return nil, fmt.Errorf("the set has digest %.8s after the update, not %.8s", v.set.Digest(), u.digest)
	}
	return &v, nil
}

// Removals above this count and this share of what is held, both, are refused in a whole set of another epoch, and so are those that leave no
// server.
const guardCount, guardShare = 10, 0.2

// suspicious says why a whole set isn't taken; empty: it is.
func suspicious(held, next *version, full bool) string {
	if !full || held == nil || held.epoch == next.epoch {
		return ""
	}
	gone, all := len(confset.Diff(held.set, next.set).Removals), held.set.Len()
	many := gone > guardCount && float64(gone) > guardShare*float64(all)
	if !many && (!hasServer(held.set) || hasServer(next.set)) {
		return ""
	}
	return fmt.Sprintf("held: the store was made anew or restored (epoch %.40s, before %.40s) and its config lacks %d of the %d objects that this relay holds; if that is meant, stop the relay, remove its copy and start it again",
		next.epoch, held.epoch, gone, all)
}

func hasServer(set *confset.Set) bool {
	for range set.Kind("server") {
		return true
	}
	return false
}
