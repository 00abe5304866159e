// Package update puts the parts of a config update together as they come over the sync stream, for whoever follows a control plane: data planes
// and relays.
//
// It promises that what it hands out is whole, that every body is what its hash says, and that the set an update leads to is what its digest says. It
// refuses parts of two updates mixed, and more bytes than the follower wants to hold. Suspicious tells alike everywhere when a store
// may have lost its content.
package update

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Update is a whole update, its parts put together.
type Update struct {
	Nonce uint64
	// Full: Delta is relative to nothing, not to what is held.
	Full  bool
	Delta confset.Delta
	// Epoch, Revision and Digest of the set it leads to.
	Epoch    string
	Revision int64
	Digest   confset.Digest
	// Traceparent of the first change in it, those of the others, and the ids of all.
	Traceparent    string
	Links, Changes []string
}

// Collector puts the parts of updates together, one update at a time.
type Collector struct {
	// Most is how many bytes the parts of one update may have together.
	Most int

	size int
	now  *Update // nil between updates
}

// Add takes in a part. It returns the update when the part was its last. An error means that the stream can't go on.
func (c *Collector) Add(part *syncv1.Update) (*Update, error) {
	if c.now == nil {
		c.now, c.size = &Update{Nonce: part.GetNonce(), Full: part.GetFull()}, 0
	}
	u := c.now
	if part.GetNonce() != u.Nonce {
		return nil, fmt.Errorf("part of update %d in the middle of update %d", part.GetNonce(), u.Nonce)
	}
	if c.size += proto.Size(part); c.size > c.Most {
		return nil, fmt.Errorf("update of more than %d bytes", c.Most)
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
func (u *Update) take(part *syncv1.Update) error {
	for _, r := range part.GetRemovals() {
		u.Delta.Removals = append(u.Delta.Removals, confset.Key{Kind: r.GetKind(), Name: r.GetName()})
	}
	for _, r := range part.GetUpserts() {
		o := confset.Object{Key: confset.Key{Kind: r.GetKind(), Name: r.GetName()}, UID: r.GetUid(), Body: r.GetBody()}
		if len(r.GetHash()) != len(o.Hash) {
			return fmt.Errorf("the hash of %s has %d bytes", o.Key, len(r.GetHash()))
		}
		if o.Hash = confset.Hash(r.GetHash()); !o.Intact() {
			return fmt.Errorf("the body of %s is not what its hash says", o.Key)
		}
		u.Delta.Upserts = append(u.Delta.Upserts, o)
	}
	return nil
}

// finish reads what only the last part has.
func (u *Update) finish(last *syncv1.Update) error {
	if len(last.GetDigest()) != len(u.Digest) {
		return errors.New("update without a digest")
	}
	u.Digest = confset.Digest(last.GetDigest())
	u.Epoch, u.Revision = last.GetEpoch(), last.GetRevision()
	u.Traceparent, u.Links, u.Changes = last.GetTraceparent(), last.GetLinks(), last.GetChanges()
	return nil
}

// Over returns the set after the update, and what changes on the way there from held. An error says that it isn't what its digest says.
func (u *Update) Over(held *confset.Set) (*confset.Set, confset.Delta, error) {
	var next *confset.Set
	delta := u.Delta
	if u.Full {
		var err error
		if next, err = confset.New(u.Delta.Upserts); err != nil {
			return nil, confset.Delta{}, err
		}
		delta = confset.Diff(held, next)
	} else {
		next = held.Apply(u.Delta)
	}
	if next.Digest() != u.Digest {
		return nil, confset.Delta{}, fmt.Errorf("the set has digest %.8s after the update, not %.8s", next.Digest(), u.Digest)
	}
	return next, delta, nil
}
