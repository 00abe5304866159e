package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// revisions splits the events of one watch answer into those of each revision. etcd sends them in order and never splits a revision.
func revisions(events []*clientv3.Event) [][]*clientv3.Event {
	var groups [][]*clientv3.Event
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		groups, events = append(groups, events[:n]), events[n:]
	}
	return groups
}

// fold makes one event of all that one transaction wrote. ok is false when nothing of it concerns watchers.
func (s *Store) fold(ctx context.Context, epoch string, events []*clientv3.Event) (event store.Event, ok bool, err error) {
	event.Revision = events[0].Kv.ModRevision
	bodies := make(map[confset.Hash][]byte)
	for _, e := range events {
		if err := s.addTo(&event, bodies, epoch, e); err != nil {
			return event, false, err
		}
	}
	for i := range event.Upserts {
		h := &event.Upserts[i]
		if h.Object.Body, ok = bodies[h.Object.Hash]; ok {
			continue
		}
		if h.Object.Body, err = s.bodyOf(ctx, h); err != nil {
			return event, false, err
		}
	}
	slices.SortFunc(event.Upserts, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	slices.SortFunc(event.Removals, confset.Key.Compare)
	return event, len(event.Upserts)+len(event.Removals) > 0 || event.Change != nil, nil
}

// addTo sorts one key's event into the whole.
func (s *Store) addTo(event *store.Event, bodies map[confset.Hash][]byte, epoch string, e *clientv3.Event) (err error) {
	key, put := string(e.Kv.Key), e.Type == clientv3.EventTypePut
	switch {
	case key == epochKey && (!put || string(e.Kv.Value) != epoch):
		return store.ErrEpoch
	case strings.HasPrefix(key, specs) && put:
		h, _, err := decodeHead(e.Kv)
		if err != nil {
			return err
		}
		event.Upserts = append(event.Upserts, h)
	case strings.HasPrefix(key, specs):
		gone, ok := parseSpecKey(key)
		if !ok {
			return fmt.Errorf("removed key %q isn't spec/<kind>/<name>", key)
		}
		event.Removals = append(event.Removals, gone)
	case strings.HasPrefix(key, objs) && put:
		return s.addBody(bodies, strings.TrimPrefix(key, objs), e.Kv.Value)
	case strings.HasPrefix(key, changes) && put:
		event.Change, err = decodeRecord(e.Kv)
	}
	return err
}

func (s *Store) addBody(bodies map[confset.Hash][]byte, name string, body []byte) error {
	hash, ok := parseHash(name)
	if !ok {
		return fmt.Errorf("stored key %q isn't a hash; remove it from etcd", objs+name)
	}
	if err := checkBody(hash, body); err != nil {
		return err
	}
	bodies[hash] = body
	s.bodies.put(hash, body)
	return nil
}

// errSilent is the cause of a watch that was given up.
var errSilent = errors.New("etcd says nothing, not even when asked for progress")
