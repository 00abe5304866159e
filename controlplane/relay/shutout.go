package relay

import (
	"errors"
	"maps"
	"slices"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// shutMost bounds the list of who is shut out.
const shutMost = 100_000

// shutFile is its file's ending.
const shutFile = "shutout"

// ShutOut is who home says is shut out, by name. It is on disk, so that a relay that starts without home shuts them out, too.
func (s *Store) ShutOut() []*syncv1.RevokedNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.shut), func(a, b *syncv1.RevokedNode) int { return strings.Compare(a.GetNode(), b.GetNode()) })
}

// OnShutOut sets what is called after the list has changed. It must return at once.
func (s *Store) OnShutOut(changed func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onShut = changed
}

// recallShutOut reads the list from disk.
func (s *Store) recallShutOut() error {
	list := &syncv1.ShutOut{}
	if _, err := s.unseal(shutFile, list); err != nil {
		return err
	}
	s.shut = byName(list.GetNodes())
	return nil
}

func byName(nodes []*syncv1.RevokedNode) map[string]*syncv1.RevokedNode {
	out := make(map[string]*syncv1.RevokedNode, len(nodes))
	for _, n := range nodes {
		out[n.GetNode()] = n
	}
	return out
}

// shutOut takes in one part of the list, and after the last puts it on disk and in force. A disk that fails doesn't stop it.
func (x *session) shutOut(part *syncv1.ShutOut) *ending {
	if x.shut = append(x.shut, part.GetNodes()...); len(x.shut) > shutMost {
		return &ending{err: errors.New("home's list of who is shut out is longer than 100000"), paced: true, turn: 1}
	}
	if part.GetMore() {
		return nil
	}
	s, list := x.s, x.shut
	x.shut = nil
	if err := s.seal(shutFile, &syncv1.ShutOut{Nodes: list}); err != nil {
		s.cfg.Log.Error("who is shut out can't be kept on disk; after a restart without home an older list is used", "error", err)
	}
	s.mu.Lock()
	s.shut = byName(list)
	changed := s.onShut
	s.mu.Unlock()
	changed()
	return nil
}

// shutBy adds to a registration what home says of the node, and says whether home says anything. Who was readmitted since it joined here has no
// token any more: the name is free.
func shutBy(n *configv1.Node, home *syncv1.RevokedNode) bool {
	if home == nil {
		return false
	}
	if home.GetNotBefore().AsTime().After(n.GetNotBefore().AsTime()) {
		n.Token, n.NotBefore = "", home.GetNotBefore()
	}
	n.Revoked = home.GetRevoked()
	return true
}
