package rollout

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Key of the object that stands beside a staged change.
func Key(change string) confset.Key { return confset.Key{Kind: Kind, Name: change} }

// New makes the body to store beside a staged change: queued, with the steps of a plan that Plan filled. What is given mustn't be written to
// afterwards.
func New(change, author, message, traceparent string, plan *adminv1.RolloutPlan, objects []*adminv1.StagedObject, now time.Time) *adminv1.Rollout {
	m := &adminv1.Rollout{
		Change: change, Plan: plan, State: Queued, Author: author, Message: message, Traceparent: traceparent, Objects: objects,
		CreateTime: timestamppb.New(now), UpdateTime: timestamppb.New(now),
	}
	for _, name := range plan.GetSteps() {
		m.Steps = append(m.Steps, &adminv1.RolloutStep{Name: name})
	}
	return m
}

// Encode returns the bytes to store. What is only told, regions and etag, isn't in them. The same rollout gives the same bytes.
func Encode(m *adminv1.Rollout) ([]byte, error) {
	if len(m.GetRegions()) > 0 || m.GetEtag() != "" {
		m = clone(m)
		m.Regions, m.Etag = nil, ""
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("rollout %s: %w", m.GetChange(), err)
	}
	return body, nil
}

// Head returns the head of a new rollout, to be stored with the change it is about.
func Head(m *adminv1.Rollout) (store.Head, error) {
	body, err := Encode(m)
	if err != nil {
		return store.Head{}, err
	}
	at := m.GetCreateTime().AsTime()
	return store.Head{Object: confset.NewObject(Key(m.GetChange()), m.GetChange(), body), Generation: 1, Created: at, Updated: at}, nil
}

// next returns the head that holds a later state, and its line in the change record.
func next(h store.Head, m *adminv1.Rollout, now time.Time) (store.Head, store.Changed, error) {
	body, err := Encode(m)
	if err != nil {
		return h, store.Changed{}, err
	}
	was := h.Object
	h.Object = confset.NewObject(was.Key, was.UID, body)
	h.Generation, h.Updated = h.Generation+1, now
	return h, store.Changed{Kind: was.Key.Kind, Name: was.Key.Name, UID: was.UID, Before: was.Hash.String(), After: h.Object.Hash.String()}, nil
}

// In returns a body like the stored one in another state, which an operator asked for: Paused, Rolling or Aborting. Time to converge starts anew.
func (s *State) In(state, reason string, now time.Time) *adminv1.Rollout {
	m := clone(s.Body)
	m.State, m.Reason, m.UpdateTime = state, reason, timestamppb.New(now)
	return m
}

func clone(m *adminv1.Rollout) *adminv1.Rollout {
	c, _ := proto.Clone(m).(*adminv1.Rollout)
	return c
}
