// Package policy decides whether an admitted caller may do this now: how many streams a principal may hold open here (Streams), and how many
// calls a principal, team, server or tool may make over the whole fleet, of which this data plane has a share (Limits).
//
// It promises that a refused call costs nothing of any limit, that a call without limits costs nothing at all, that no call waits for a lock
// of another one, and that memory is bounded: what isn't used is forgotten. It refuses to queue.
package policy

import (
	"strconv"
	"sync"

	"github.com/hopgate/hopgate/proto/fault"
)

// Streams counts the open long-lived streams (GET, subscriptions/listen) per principal on this data plane. The zero value is ready; safe
// for concurrent use.
type Streams struct {
	mu   sync.Mutex
	open map[string]int // guarded by mu; no zero entries
}

// Acquire takes a place for principal among limit, or refuses with exhausted (429). After success the caller calls Release exactly once.
func (s *Streams) Acquire(principal string, limit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[principal] >= limit {
		return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.Exhausted,
			Message: "this caller already holds " + strconv.Itoa(limit) + " open streams here",
			Hint:    "close idle clients, or raise spec.limits.streams_per_principal in Settings"}
	}
	if s.open == nil {
		s.open = make(map[string]int)
	}
	s.open[principal]++
	return nil
}

// Release gives a place back.
func (s *Streams) Release(principal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[principal]--; s.open[principal] == 0 {
		delete(s.open, principal)
	}
}
