package stream

import (
	"slices"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// shutOutPart is how many nodes one message names: with the longest names they stay below 1 MiB.
const shutOutPart = 4000

// TellShutOut tells every relay the list of who is shut out, as it is now.
func (s *Server) TellShutOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		sess.shut()
	}
}

// shut says that a relay is to be told who is shut out.
func (s *session) shut() {
	if !s.joined.Relay || s.server.cfg.ShutOut == nil {
		return
	}
	select {
	case s.shuts <- struct{}{}:
	default:
	}
}

// sayShutOut queues the whole list; mu is held.
func (s *session) sayShutOut() {
	for _, part := range shutOutParts(s.server.cfg.ShutOut()) {
		s.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_ShutOut{ShutOut: part}})
	}
}

// shutOutParts cuts a list; an empty one is a part, too.
func shutOutParts(nodes []*syncv1.RevokedNode) []*syncv1.ShutOut {
	var out []*syncv1.ShutOut
	for part := range slices.Chunk(nodes, shutOutPart) {
		out = append(out, &syncv1.ShutOut{Nodes: part, More: true})
	}
	if out == nil {
		return []*syncv1.ShutOut{{}}
	}
	out[len(out)-1].More = false
	return out
}
