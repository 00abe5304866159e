package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// What a relay keeps of its own: tokens that were made here, and the data planes that joined with them. Home never hears of them.
const (
	kindToken     = "jointoken"
	kindNode      = "node"
	kindAuthority = "authority"
	localFile     = "joins"
	localMost     = 10_000 // objects
)

// Certified sets the certificates of the relay's own authority, the first of which signs. Tokens are then made here, for this region.
func (s *Store) Certified(certificates [][]byte) error {
	key := confset.Key{Kind: kindAuthority, Name: "default"}
	body, err := proto.Marshal(&configv1.Authority{Name: key.Name, Certificates: certificates})
	if err != nil {
		return err
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = maps.Clone(s.local)
	s.turn++
	s.local[key] = store.Head{Object: confset.NewObject(key, "", body), Generation: 1, Revision: s.turn}
	return nil
}

// recallLocal reads them from disk.
func (s *Store) recallLocal() error {
	kept := &syncv1.Update{}
	if _, err := s.unseal(localFile, kept); err != nil {
		return err
	}
	for _, r := range kept.GetUpserts() {
		key := confset.Key{Kind: r.GetKind(), Name: r.GetName()}
		s.turn++
		s.local[key] = store.Head{Object: confset.NewObject(key, r.GetUid(), r.GetBody()), Generation: 1, Revision: s.turn}
	}
	return nil
}

// localHead returns one of them. To a registration is added what home says of the node.
func (s *Store) localHead(key confset.Key) (store.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.local[key]
	if key.Kind == kindNode {
		n := &configv1.Node{}
		if err := proto.Unmarshal(h.Object.Body, n); err != nil {
			return h, fmt.Errorf("%s: %w", key, err)
		}
		if n.Name = key.Name; shutBy(n, s.shut[key.Name]) {
			body, err := proto.Marshal(n)
			h.Object, ok = confset.NewObject(key, h.Object.UID, body), err == nil
		}
	}
	if !ok {
		return store.Head{}, store.ErrNotFound
	}
	return h, nil
}

// Commit makes, uses or deletes a join token of this relay; it refuses everything else, since a relay only reads. It is on disk when it returns.
func (s *Store) Commit(_ context.Context, w store.Write) (store.Result, error) {
	if err := s.fits(w); err != nil {
		return store.Result{}, err
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	s.mu.Lock()
	next, turn := maps.Clone(s.local), s.turn+1
	revision := int64(0)
	if s.now != nil {
		revision = s.now.revision
	}
	s.mu.Unlock()
	for _, e := range w.Expect {
		if at := next[e.Key].Revision; at != e.Revision {
			return store.Result{}, &store.ConflictError{Key: e.Key, Expected: e.Revision, Current: at}
		}
	}
	for _, h := range w.Puts {
		h.Revision = turn
		next[h.Object.Key] = h
	}
	for _, k := range w.Deletes {
		delete(next, k)
	}
	if len(next) > localMost {
		return store.Result{}, status.Errorf(codes.ResourceExhausted, "this relay keeps at most %d tokens and data planes of its own; delete tokens, or let data planes join at home", localMost)
	}
	if err := s.keepLocal(next); err != nil {
		return store.Result{}, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.mu.Lock()
	s.local, s.turn = next, turn
	s.mu.Unlock()
	return store.Result{Revision: revision}, nil
}

// keepLocal puts them on disk.
func (s *Store) keepLocal(all map[confset.Key]store.Head) error {
	kept := &syncv1.Update{}
	for k, h := range all {
		if k.Kind != kindAuthority { // it comes with the relay's own certificate
			kept.Upserts = append(kept.Upserts, &syncv1.Resource{Kind: k.Kind, Name: k.Name, Uid: h.Object.UID, Body: h.Object.Body})
		}
	}
	return s.seal(localFile, kept)
}

// Tokens are the tokens of this relay, by name, at most n after a name.
func (s *Store) Tokens(after string, n int) (out []store.Head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, h := range s.local {
		if k.Kind == kindToken && k.Name > after {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b store.Head) int { return a.Object.Key.Compare(b.Object.Key) })
	return out[:min(n, len(out))]
}

// fits refuses what a relay can't keep a promise about.
func (s *Store) fits(w store.Write) error {
	tokens := 0
	for _, h := range w.Puts {
		switch h.Object.Key.Kind {
		case kindToken:
			tokens++
			t := &adminv1.JoinToken{}
			if err := proto.Unmarshal(h.Object.Body, t); err != nil {
				return err
			}
			if t.GetRelay() || t.GetRegion() != s.cfg.Region {
				return status.Errorf(codes.FailedPrecondition, "this is the relay of region %s, and lets data planes of this region join; ask the control plane at home for other tokens", s.cfg.Region)
			}
		case kindNode:
		default:
			return s.elsewhere()
		}
	}
	for _, k := range w.Deletes {
		if k.Kind != kindToken {
			return s.elsewhere()
		}
		tokens++
	}
	if tokens == 0 {
		return s.elsewhere()
	}
	return nil
}
