package follow

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// update is a whole update, its parts put together.
type update struct {
	nonce   uint64
	full    bool
	delta   confset.Delta // relative to what is held, or to nothing when full
	version table.Version // it leads to

	traceparent string
	links       []string
	changes     []string
}

// collector puts the parts of updates together, one update at a time.
type collector struct {
	most int // bytes
	size int
	now  *update // nil between updates
}

// add takes in a part. It returns the update when the part was its last. An error means that the stream can't go on: what a part that
// is not what it says leads to is unknown.
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
		o.Hash = confset.Hash(r.GetHash())
		if !o.Intact() {
			return fmt.Errorf("the body of %s is not what its hash says", o.Key)
		}
		u.delta.Upserts = append(u.delta.Upserts, o)
	}
	return nil
}

// finish reads what only the last part has.
func (u *update) finish(last *syncv1.Update) error {
	if len(last.GetDigest()) != len(u.version.Digest) {
		return errors.New("update without a digest")
	}
	u.version = table.Version{Revision: last.GetRevision(), Epoch: last.GetEpoch(), Digest: confset.Digest(last.GetDigest())}
	u.traceparent, u.links, u.changes = last.GetTraceparent(), last.GetLinks(), last.GetChanges()
	return nil
}

// over returns the set after the update, and what changes on the way there from held.
func (u *update) over(held *confset.Set) (*confset.Set, confset.Delta, error) {
	if !u.full {
		return checked(held.Apply(u.delta), u.delta, u.version)
	}
	next, err := confset.New(u.delta.Upserts)
	if err != nil {
		return nil, confset.Delta{}, err
	}
	return checked(next, confset.Diff(held, next), u.version)
}

func checked(next *confset.Set, d confset.Delta, v table.Version) (*confset.Set, confset.Delta, error) {
	if next.Digest() != v.Digest {
		return nil, confset.Delta{}, fmt.Errorf("the set has digest %.8s after the update, not %.8s", next.Digest(), v.Digest)
	}
	return next, d, nil
}
