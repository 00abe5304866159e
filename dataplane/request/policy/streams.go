// Package policy decides whether an admitted caller may do this now. Today that is one rule: how many streams a principal may hold open.
//
// It promises that a refused stream costs nothing and that a principal without streams isn't remembered. It refuses to queue.
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
