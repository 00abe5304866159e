package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// keptTries is how often a write of an object that others write too is tried.
const keptTries = 8

// RevokeNode shuts a data plane out, whether it is known or not, or lets it come back with what is made from now on.
func (s *service) RevokeNode(ctx context.Context, r *adminv1.RevokeNodeRequest) (*adminv1.DeleteResponse, error) {
	if stream.CheckIdentity(stream.Identity{Node: r.GetNode(), Region: "x"}) != nil {
		return nil, invalidField("node", "is not a node name", nodeFix)
	}
	key := confset.Key{Kind: authority.KindNode, Name: r.GetNode()}
	return s.again(ctx, key, func(head *store.Head) (string, error) {
		n := &configv1.Node{}
		if head != nil {
			if err := proto.Unmarshal(head.Object.Body, n); err != nil {
				n = &configv1.Node{} // it shuts out until it is written anew
			}
		}
		s.revoke(n, r)
		return s.turnOver(ctx, r.GetMessage(), turnover{key: key, before: head, after: n})
	})
}

// revoke changes a registration. Who is let back in may come with any token.
func (s *service) revoke(n *configv1.Node, r *adminv1.RevokeNodeRequest) {
	from := s.cfg.Now().UTC()
	// Certificates begin at whole seconds, and one that was made since the last time counts as made up to a second later.
	if last := n.GetNotBefore(); last != nil && from.Before(last.AsTime().Add(2*time.Second)) {
		from = last.AsTime().Add(2 * time.Second)
	}
	n.Name, n.Revoked, n.NotBefore = r.GetNode(), !r.GetReadmit(), timestamppb.New(from)
	if r.GetReadmit() {
		n.Token = ""
	}
}

// again reads an object and changes it until nobody else did in between.
func (s *service) again(ctx context.Context, key confset.Key, change func(head *store.Head) (id string, err error)) (*adminv1.DeleteResponse, error) {
	for range keptTries {
		var head *store.Head
		switch h, err := s.cfg.Store.Get(ctx, key); {
		case err == nil:
			head = &h
		case !errors.Is(err, store.ErrNotFound):
			return nil, refusal(err)
		}
		id, err := change(head)
		if status.Code(err) != codes.Aborted {
			return &adminv1.DeleteResponse{Change: id}, err
		}
	}
	return nil, busy(key, keptTries)
}

// turnover is what becomes of an object that stays in the control plane: it is made (before nil), changed, or deleted (after nil).
type turnover struct {
	key    confset.Key
	before *store.Head
	after  proto.Message
}

// turnOver commits them as one change of the caller, and returns once this replica sees it. A lost race is ABORTED.
func (s *service) turnOver(ctx context.Context, message string, all ...turnover) (id string, err error) {
	if len(message) > messageMost {
		return "", invalidField("message", fmt.Sprintf("has %d bytes", len(message)), fmt.Sprintf("write at most %d", messageMost))
	}
	keys := make([]confset.Key, len(all))
	for i, t := range all {
		keys[i] = t.key
	}
	trailOf(ctx).note(keys)
	var w store.Write
	if w.Record, _, err = s.record(ctx, intent{message: message, kept: true}); err != nil {
		return "", refusal(err)
	}
	for _, t := range all {
		if err := s.turn(&w, t); err != nil {
			return "", refusal(err)
		}
	}
	res, err := s.cfg.Store.Commit(ctx, w)
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict):
		return "", busy(conflict.Key, 1)
	case err != nil:
		return "", refusal(err)
	}
	trailOf(ctx).committed(w.Record.ID)
	return w.Record.ID, refusal(s.cfg.Index.WaitRevision(ctx, res.Revision))
}

// turn adds one object to a write.
func (s *service) turn(w *store.Write, t turnover) error {
	c := store.Changed{Kind: t.key.Kind, Name: t.key.Name}
	expect := store.Precondition{Key: t.key}
	h := store.Head{Created: w.Record.Time}
	if t.before != nil {
		h, expect.Revision = *t.before, t.before.Revision
		c.UID, c.Before = h.Object.UID, h.Object.Hash.String()
	} else {
		var err error
		if c.UID, err = s.ids.uid(w.Record.Time); err != nil {
			return err
		}
	}
	w.Expect = append(w.Expect, expect)
	if t.after == nil {
		w.Deletes = append(w.Deletes, t.key)
	} else {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(t.after)
		if err != nil {
			return err
		}
		h.Object, h.Updated, h.Generation = confset.NewObject(t.key, c.UID, body), w.Record.Time, h.Generation+1
		c.After = h.Object.Hash.String()
		w.Puts = append(w.Puts, h)
	}
	w.Record.Objects = append(w.Record.Objects, c)
	return nil
}
